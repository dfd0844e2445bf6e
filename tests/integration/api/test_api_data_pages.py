"""The pages of recordings and datasets: for whom they are, and what they weigh."""

import re

import pytest

from api.static_files import STATIC_DIR

UNKNOWN = "00000000-0000-0000-0000-000000000000"
PAGES = {
    "/recordings": "recordings:read",
    f"/recordings/{UNKNOWN}": "recordings:read",
    "/datasets": "datasets:read",
    "/datasets/new": "datasets:read",
    "/datasets/northwest": "datasets:read",
    "/datasets/northwest/versions/1": "datasets:read",
}
MOST_BYTES = 150_000


@pytest.fixture
def sign_in(client):
    def as_holder_of(*scopes):
        key = client.make_key(*scopes)["Authorization"].removeprefix("Bearer ")
        client.post("/sign-in", data={"key": key}, follow_redirects=False)
        return client

    return as_holder_of


@pytest.mark.parametrize(("path", "need"), PAGES.items())
def test_a_page_opens_to_who_may_read_its_data_and_names_the_right_to_others(sign_in, path, need):
    refused = sign_in("models:read").get(path)
    assert refused.status_code == 403
    assert need in refused.text
    assert sign_in(need).get(path).status_code == 200


def test_who_may_only_read_is_offered_no_change(sign_in):
    reader = sign_in("recordings:read", "datasets:read")
    for path in ("/recordings", "/datasets", "/datasets/new"):
        page = reader.get(path).text
        assert "approve-selected" not in page
        assert 'id="freeze"' not in page
    writer = sign_in("recordings:read", "recordings:write", "datasets:read", "datasets:write")
    assert "approve-selected" in writer.get("/recordings").text
    assert 'id="freeze"' in writer.get("/datasets/new").text


@pytest.mark.parametrize("path", ["/recordings/nonsense", "/datasets/a:b", "/datasets/northwest/versions/0"])
def test_what_is_no_name_is_not_found(sign_in, path):
    assert sign_in("recordings:read", "datasets:read").get(path).status_code in {404, 422}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_with_all_that_it_loads_is_light(sign_in, path):
    page = sign_in("recordings:read", "datasets:read").get(path).text
    names = set(re.findall(r'="/static/[0-9a-f]{16}/([^"]+)"', page))
    files, waiting = set(), {STATIC_DIR / name for name in names}
    while waiting:
        file = waiting.pop()
        files.add(file)
        imported = re.findall(r'from "([^"]+)"', file.read_text()) if file.suffix == ".js" else []
        waiting |= {(file.parent / name).resolve() for name in imported} - files
    assert len(files) > 4
    assert len(page.encode()) + sum(file.stat().st_size for file in files) < MOST_BYTES
