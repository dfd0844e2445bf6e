"""Files of the pages: small on the wire, kept by browsers, and nothing from outside of their folder."""

import gzip
import re
import subprocess
import sys

import pytest

from api.static_files import STATIC_DIGEST, STATIC_DIR, plotly_script

PLAIN = {"Accept-Encoding": "identity"}


@pytest.mark.parametrize(
    "path",
    ["../pages.py", "%2e%2e/pages.py", "..%2f..%2f..%2fetc/passwd", "0123456789abcdef/../../pages.py", "js"],
)
def test_nothing_outside_of_the_folder_is_served(client, path):
    assert client.get(f"/static/{path}").status_code == 404


def test_a_file_of_today_is_kept_for_ever_and_any_other_is_asked_for_again(client):
    kept = client.get(f"/static/{STATIC_DIGEST}/heimdall.css")
    assert "immutable" in kept.headers["cache-control"]
    for path in ("heimdall.css", f"{'0' * 16}/heimdall.css"):
        answer = client.get(f"/static/{path}")
        assert answer.text == kept.text
        assert answer.headers["cache-control"] == "no-cache"
    missing = client.get(f"/static/{STATIC_DIGEST}/nothing.js")
    assert missing.status_code == 404
    assert missing.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_what_has_not_changed_is_not_sent_again(client, encoding):
    headers = {"Accept-Encoding": encoding}
    first = client.get("/static/heimdall.css", headers=headers)
    again = client.get("/static/heimdall.css", headers=headers | {"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert first.headers["vary"] == again.headers["vary"] == "Accept-Encoding"


def test_plotly_comes_out_of_its_distribution_compressed(client):
    plain = client.get("/static/plotly.min.js", headers=PLAIN)
    assert plain.content == plotly_script().read_bytes()
    with client.stream("GET", f"/static/{STATIC_DIGEST}/plotly.min.js") as small:
        raw = b"".join(small.iter_raw())
    assert small.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 3
    assert small.headers["content-type"].startswith("text/javascript")


def test_the_api_does_not_import_plotly():
    code = "import sys, api.static_files as s; s.plotly_script(); sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pages_name_files_by_the_digest_of_all(client):
    page = client.get("/sign-in").text
    names = re.findall(r'(?:src|href)="/static/([^"]+)"', page)
    assert names
    assert all(name.startswith(f"{STATIC_DIGEST}/") for name in names)
    for name in names:
        assert client.get(f"/static/{name}").status_code == 200, name


def test_plotly_still_looks_for_its_inline_styles_where_ours_are():
    """Elements of these ids keep it from adding styles that the pages' policy would refuse."""
    loader = (STATIC_DIR / "js/core/plotly.js").read_text()
    ids = re.search(r"OWN_STYLES = \[(.*?)\]", loader, re.DOTALL)[1]
    script = plotly_script().read_text()
    wanted = re.findall(r'"([^"]+)"', ids)
    assert len(wanted) == 2
    assert all(f'"{name.removesuffix("global")}' in script for name in wanted)
    assert script.count('createElement("style")') == len(wanted)


def test_there_is_a_picture_for_the_tab(client):
    for path in ("/favicon.ico", "/static/favicon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("image/svg+xml")
