"""A service that is newer or older than this client is understood as far as it can be."""

import httpx
import pytest

from heimdall_client import JobKind, JobStatus, NotOffered, UnreadableAnswer
from heimdall_client.documents.document import parse
from heimdall_client.documents.jobs import Event, Job


def test_words_of_a_newer_service_stay_what_they_are(surface, script, make_job):
    answer = make_job("hibernating", kind="sweep", priority="urgent")
    job = surface.ask(script(httpx.Response(200, json=answer)), "jobs.get", "job_1")
    assert (job.status, job.kind, job.priority) == ("hibernating", "sweep", "urgent")
    assert not job.status.is_known
    assert JobStatus.RUNNING.is_known
    assert job.status is not JobStatus.RUNNING
    assert job.kind != JobKind.TRAIN


def test_members_of_a_newer_service_are_kept(make_job):
    job = parse(Job, make_job(carbon={"grams": 3}, queue={"position": 1, "lane": "fast"}))
    assert job.carbon == {"grams": 3}
    assert job.to_json()["queue"]["lane"] == "fast"


def test_members_that_an_older_service_lacks_have_a_plain_value(make_job):
    job = parse(Job, make_job())
    assert (job.tags, job.attempts, job.error, job.queue) == ({}, [], None, None)


def test_what_no_client_can_do_without_is_named(make_job):
    with pytest.raises(UnreadableAnswer, match="is no Job: status: Field required") as caught:
        parse(Job, {"id": "job_1", "kind": "train", "is_terminal": False})
    assert "another version" in caught.value.hint


def test_an_id_is_text_whether_the_service_counts_or_names():
    assert parse(Event, {"id": 7, "event": "job.queued"}).id == "7"
    assert parse(Event, {"id": "evt_7", "event": "job.queued"}).id == "evt_7"


@pytest.mark.parametrize("answer", [(404, "unknown_action"), (405, "method_not_allowed")])
def test_a_call_that_an_older_service_does_not_know_is_told_from_a_thing_that_is_not_there(
    surface, script, problem, answer
):
    with pytest.raises(NotOffered):
        surface.ask(script(problem(*answer)), "jobs.validate", {"kind": "train"})
