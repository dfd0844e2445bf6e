"""The page of a job, and what it reads: the specification beside its defaults, curves and logs in parts."""

import json

import pytest
from sqlalchemy import select

from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job, LogChunk, MetricPoint
from heimdall_core.domain.spec import DatasetRef, TrainingSpec, TrainJobSpec, spec_to_dict

SPEC = TrainJobSpec(
    kind="train",
    dataset=DatasetRef(name="north", version=3),
    training=TrainingSpec(epochs=7),
    tags={"a/b": "<script>"},
)


@pytest.fixture
def make_job(database):
    def add(*, owner="ann", kind="train", spec=None):
        job_id = new_id("job")
        with database.transaction() as session:
            spec = json.loads(json.dumps(spec or spec_to_dict(SPEC)))
            session.add(Job(id=job_id, kind=kind, owner=owner, spec=spec, attempt=1))
        return job_id

    return add


def signed_in(client, *scopes, owner="bob"):
    key = client.make_key(*scopes, owner=owner)["Authorization"].removeprefix("Bearer ")
    assert client.post("/sign-in", data={"key": key}, follow_redirects=False).status_code == 303
    return client


# The page


@pytest.mark.parametrize("job_id", ["job_x", "%3Cscript%3E"])
def test_what_is_no_job_is_told_on_a_page_of_its_own(client, job_id):
    page = signed_in(client, "jobs:read").get(f"/jobs/{job_id}")
    assert page.status_code == 404
    assert "No such job" in page.text
    assert "<script>" not in page.text


def test_another_owners_job_looks_as_if_there_were_none(client, make_job):
    theirs, mine = make_job(owner="ann"), make_job(owner="bob")
    signed_in(client, "jobs:read")
    assert client.get(f"/jobs/{theirs}").status_code == 404
    assert client.get(f"/jobs/{mine}").status_code == 200
    assert signed_in(client, "jobs:read:all", owner="eve").get(f"/jobs/{theirs}").status_code == 200


def test_a_key_that_shows_no_jobs_is_told_which_scope_it_lacks(client, make_job):
    page = signed_in(client, "models:read").get(f"/jobs/{make_job(owner='bob')}")
    assert page.status_code == 403
    assert "jobs:read" in page.text


@pytest.mark.parametrize("kind", ["train", "export", "evaluate", "import"])
def test_every_kind_of_job_has_a_page_that_holds_nothing_but_its_frame(client, make_job, kind):
    job_id = make_job(owner="bob", kind=kind)
    page = signed_in(client, "jobs:read").get(f"/jobs/{job_id}").text
    assert f'data-job="{job_id}"' in page
    assert "badge-queued" in page
    assert "<noscript>" in page
    assert "&lt;script&gt;" not in page, "tags come by the API"


# The specification


def test_a_specification_is_told_member_by_member_beside_its_defaults(client, make_job):
    found = client.get(f"/v1/jobs/{make_job()}/spec").json()
    assert found["kind"] == "train"
    members = {member["pointer"]: member for member in found["members"]}
    epochs = members["/training/epochs"]
    assert (epochs["value"], epochs["default"], epochs["is_default"]) == (7, 100, False)
    assert epochs["description"]
    assert members["/training/batch_size"]["is_default"]
    assert members["/dataset/name"]["is_required"]
    assert members["/tags/a~1b"]["value"] == "<script>"
    changed = [p for p, m in members.items() if not (m["is_default"] or m["is_required"])]
    assert changed == ["/training/epochs", "/tags/a~1b"]


def test_another_owners_specification_is_not_told(client, make_job):
    answer = client.get(f"/v1/jobs/{make_job(owner='ann')}/spec", headers=client.make_key("jobs:read"))
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


def test_a_specification_of_an_older_release_is_told_all_the_same(client, make_job):
    job_id = make_job(spec={"kind": "train", "dataset": {"name": "north"}, "training": {"gone": 1}})
    members = client.get(f"/v1/jobs/{job_id}/spec").json()["members"]
    assert [member["pointer"] for member in members] == ["/kind", "/dataset/name", "/training/gone"]
    assert members[-1]["description"] is None


# Curves and logs in parts


def test_curves_are_thinned_and_grow_after_a_step(client, database, make_job):
    job_id = make_job()
    with database.transaction() as session:
        points = [{"name": "loss", "step": step, "epoch": 1, "value": float(step)} for step in range(100)]
        session.add_all(MetricPoint(job_id=job_id, attempt=1, **point) for point in points)
        session.add(MetricPoint(job_id=job_id, name="rate", step=50, epoch=1, value=0.1, attempt=1))
    base = f"/v1/jobs/{job_id}/metrics"

    def steps(query):
        curves = client.get(base + query).json()["metrics"]
        return {name: [point["step"] for point in points] for name, points in curves.items()}

    assert steps("?max_points=4") == {"loss": [24, 49, 74, 99], "rate": [50]}
    assert steps("?after_step=97") == {"loss": [98, 99]}
    assert steps("?after_step=89&max_points=2&name=loss") == {"loss": [94, 99]}
    assert steps("?after_step=-1&name=rate") == {"rate": [50]}
    assert client.get(base + "?max_points=1").status_code == 422


def test_a_log_is_read_from_its_end_towards_its_beginning_and_then_as_it_grows(client, database, make_job):
    job_id = make_job()
    with database.transaction() as session:
        session.add_all(LogChunk(job_id=job_id, attempt=1, number=n, content=f"{n}\n") for n in (2, 3, 5, 8))
    base = f"/v1/jobs/{job_id}/logs"
    end = client.get(base, params={"from_end": True, "limit": 2}).json()
    assert end == {"attempt": 1, "content": "5\n8\n", "next_after": 8, "next_before": 5}
    before = client.get(base, params={"from_end": True, "limit": 2, "before": 5}).json()
    assert (before["content"], before["next_before"]) == ("2\n3\n", None)
    with database.transaction() as session:
        session.add(LogChunk(job_id=job_id, attempt=1, number=9, content="9\n"))
    assert client.get(base, params={"after": 8}).json()["content"] == "9\n"
    assert client.get(base, params={"after": 2, "before": 8}).json()["content"] == "3\n5\n"
    nothing = client.get(base, params={"before": 10**18, "after": 10**18}).json()
    assert nothing == {"attempt": 1, "content": "", "next_after": 2**31 - 1, "next_before": None}


def test_a_job_that_never_ran_has_an_empty_log(client, make_job, database):
    job_id = make_job()
    with database.transaction() as session:
        session.scalars(select(Job).where(Job.id == job_id)).one().attempt = 0
    log = client.get(f"/v1/jobs/{job_id}/logs?from_end=true").json()
    assert log == {"attempt": 0, "content": "", "next_after": 0, "next_before": None}
