"""What pages name exists, stays small, and needs nothing that their policy forbids."""

import re

import pytest

from api.static_files import STATIC_DIR

TEMPLATES = STATIC_DIR.parent / "templates"
PAGES = sorted(path for path in TEMPLATES.rglob("*.html") if "layout.html" in path.read_text())
MODULES = sorted(STATIC_DIR.rglob("*.js"))
WEIGHT_LIMIT = 150_000

_STATIC = re.compile(r'="/static/([^"]+)"')
_IMPORT = re.compile(r'(?:from|import)\s+"(\.{1,2}/[^"]+\.js)"')
_LATER = re.compile(r'import\("(\.{1,2}/[^"]+\.js)"\)')


def static_files(template):
    names = _STATIC.findall(template.read_text() + (TEMPLATES / "layout.html").read_text())
    return {STATIC_DIR / name for name in names}


def with_imports(files, patterns=(_IMPORT, _LATER)):
    found, waiting = set(), set(files)
    while waiting:
        path = waiting.pop()
        found.add(path)
        if path.suffix == ".js" and path.is_file():
            code = path.read_text()
            names = {name for pattern in patterns for name in pattern.findall(code)}
            waiting |= {(path.parent / name).resolve() for name in names} - found
    return found


def named(path):
    return str(path.relative_to(STATIC_DIR.parent))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_names_only_files_that_exist_and_opens_with_little(page):
    files = static_files(page)
    assert [named(path) for path in with_imports(files) if not path.is_file()] == []
    at_first = with_imports(files, patterns=(_IMPORT,))
    weight = sum(path.stat().st_size for path in at_first) + page.stat().st_size
    assert weight < WEIGHT_LIMIT, f"{weight} bytes before anything is asked for, without plotly"


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=named)
def test_a_template_holds_no_inline_script_style_or_handler(template):
    html = template.read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>", html) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", html) == []


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_module_makes_no_html_of_data_and_reaches_no_other_host(module):
    code = module.read_text()
    assert (
        re.findall(
            r"\.(?:inner|outer)HTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function", code
        )
        == []
    )
    assert (
        re.findall(r"https?://(?!www\.w3\.org/)[\w.-]+", re.sub(r"(?m)^\s*(?://|\*|/\*).*$", "", code)) == []
    )
    assert '"/static/' not in code, "the digest in the address would be lost: resolve against import.meta.url"


def test_every_module_is_used():
    used = with_imports({path for page in PAGES for path in static_files(page)})
    lazy = {STATIC_DIR / "plotly.min.js"}
    assert [named(path) for path in set(MODULES) - used - lazy] == []
