"""ETags and preconditions."""

import pytest
from pydantic import BaseModel

from api.conditional import etag_of, is_known, job_etag, matching_revisions, require_match
from heimdall_core.domain.errors import PreconditionFailed


class Thing(BaseModel):
    name: str
    files: list[dict[str, str]] = []


def test_a_precondition_on_something_else_fails(services):
    with pytest.raises(PreconditionFailed):
        require_match('"other"', Thing(name="a"), services.settings)
    with pytest.raises(PreconditionFailed):
        require_match("W/" + etag_of(Thing(name="a"), services.settings), Thing(name="a"), services.settings)


@pytest.mark.parametrize("header", [None, "*"])
def test_whoever_does_not_care_passes(services, header):
    require_match(header, Thing(name="a"), services.settings)


def test_an_etag_is_of_the_content_and_not_of_presigned_urls(services):
    settings = services.settings
    first = Thing(name="a", files=[{"sha256": "1", "download_url": "https://x/?signature=1"}])
    again = Thing(name="a", files=[{"sha256": "1", "download_url": "https://x/?signature=2"}])
    other = Thing(name="a", files=[{"sha256": "2", "download_url": "https://x/?signature=1"}])
    assert etag_of(first, settings) == etag_of(again, settings) != etag_of(other, settings)


def test_an_etag_changes_before_presigned_urls_expire(services, monkeypatch):
    linked, plain = Thing(name="a", files=[{"download_url": "u"}]), Thing(name="a")
    half_life = services.settings.storage.presign_seconds / 2
    etags = []
    for moment in (half_life * 10 + 1, half_life * 11 + 1):
        monkeypatch.setattr("api.conditional.time.time", lambda moment=moment: moment)
        etags.append((etag_of(linked, services.settings), etag_of(plain, services.settings)))
    assert etags[0][0] != etags[1][0]
    assert etags[0][1] == etags[1][1]


@pytest.mark.parametrize("header", ['"a"', 'W/"a"', '"b", "a"', "*"])
def test_what_the_caller_has_is_known(header):
    assert is_known(header, '"a"')
    assert not is_known(None, '"a"')


def test_a_jobs_etag_is_its_revision_and_its_place_in_the_queue():
    assert job_etag(3, None) == '"3"'
    assert job_etag(3, {"position": 2, "reason": "no_worker"}) == '"3-2-no_worker"'


@pytest.mark.parametrize(
    ("header", "revisions"),
    [
        (None, None),
        ("*", None),
        ('"3-2-no_worker"', {3}),
        ('"3", "5"', {3, 5}),
        ('W/"3"', set()),
        ('"x"', set()),
        ("3", set()),
    ],
)
def test_if_match_names_revisions_of_the_row(header, revisions):
    assert matching_revisions(header) == revisions
