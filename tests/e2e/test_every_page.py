"""What must hold of each page: no complaint, no grave finding of axe in either theme, narrow, light, soon there."""

import json
from dataclasses import asdict

import pytest

from tests.e2e.conftest import PICTURES
from tests.e2e.watching import PAINT, WIDER, Weight

PAGES = {
    "jobs": "/",
    "jobs filtered to nothing": "/?status=paused",
    "new job": "/jobs/new",
    "new job filled": "/jobs/new?clone={job}",
    "job": "/jobs/{job}",
    "job that failed": "/jobs/{failed}",
    "job of an import": "/jobs/{imported}",
    "job that does not exist": "/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa",
    "models": "/models",
    "model": "/models/localization",
    "comparison": "/models/localization/compare?a=1&b=2",
    "datasets": "/datasets",
    "dataset version": "/datasets/tiny/versions/1",
    "new dataset": "/datasets/new",
    "recordings": "/recordings",
    "recording": "/recordings/{session}",
    "fleet": "/fleet",
    "sign-in": "/sign-in",
    "API reference": "/docs",
    "problem codes": "/problems",
}
LONG = {"API reference", "problem codes"}
TROUBLED = {"job that failed", "job that does not exist"}
MISSING = {"job that does not exist"}
#: The reference shows every operation and document of the API on one page.
WHOLE_CONTRACT = {"API reference"}
MOST_OWN_BYTES = 150_000
MOST_DATA_BYTES = 250_000
SOON_MS = 1000
#: Soon after a window has changed its size, plots fit it, and tables that it cuts can be scrolled by keyboard.
FITS = (
    f"{WIDER} <= 0 && [...document.querySelectorAll('.table-wrap')]"
    ".every((wrap) => wrap.scrollWidth <= wrap.clientWidth || wrap.tabIndex === 0)"
)
#: What does not: how far the page goes beyond the window, tables out of reach, the elements furthest right.
TOO_WIDE = (
    f"[{WIDER}, [...document.querySelectorAll('.table-wrap')]"
    ".filter((wrap) => wrap.scrollWidth > wrap.clientWidth && wrap.tabIndex !== 0).map((wrap) => wrap.outerHTML.slice(0, 300)),"
    "[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)"
    ".map((one) => `${one.tagName}.${one.className} ${one.getBoundingClientRect().right}`).slice(0, 12)]"
)
NARROW = {"width": 360, "height": 780}


@pytest.fixture(scope="session")
def failed(service, dataset):
    """A training that cannot learn: its learning rate is far too large, and nothing clips the gradient."""
    found = service.tagged("failed")
    job = (
        found[0]
        if found
        else service.submit("failed", epochs=50, learning_rate=1, gradient_clip=None, seed=3)
    )
    return service.ended(job.id)


@pytest.fixture(scope="session")
def paths(service, trained, failed):
    """The address of each page."""
    places = {
        "job": trained[0].id,
        "failed": failed.id,
        "imported": next(iter(service.heimdall.jobs.list(kind="import"))).id,
        "session": next(iter(service.heimdall.recordings.list(limit=1))).id,
    }
    return {name: path.format(**places) for name, path in PAGES.items()}


@pytest.fixture(scope="session")
def measured():
    """Kept beside the pictures: what each page weighed, and when it showed something."""
    found = {}
    yield found
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / "weights.json").write_text(json.dumps(found, indent=1))


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_kept_out_and_nothing_complains(open_window, paths, name):
    window = open_window(color_scheme="light")
    window.show(paths[name])
    told = window.page.locator("main").get_by_role("alert").all_inner_texts()
    found = {"light": window.grave_findings()}
    window.picture(f"{name}-light", whole=name not in LONG)
    window.page.emulate_media(color_scheme="dark")
    window.settle()
    found["dark"] = window.grave_findings()
    window.picture(f"{name}-dark", whole=name not in LONG)
    window.page.set_viewport_size(NARROW)
    try:
        window.until(FITS, seconds=10)
    except AssertionError:
        pytest.fail(f"at {NARROW['width']} pixels: {window.page.evaluate(TOO_WIDE)}")
    found["narrow"] = window.grave_findings()
    window.picture(f"{name}-narrow", whole=name not in LONG)
    if name in MISSING:
        window.forgive("404")
    assert told == [] or name in TROUBLED
    assert found == {"light": [], "dark": [], "narrow": []}


@pytest.mark.parametrize("name", sorted(PAGES.keys() - WHOLE_CONTRACT))
def test_it_is_light_and_soon_there(open_window, paths, measured, name):
    window = open_window()
    window.page.goto("about:blank")
    weight = Weight.of(window, paths[name])
    paints = [window.page.evaluate(PAINT)]
    for _ in range(2):
        window.show(paths[name])
        paints.append(window.page.evaluate(PAINT))
    window.forgive("404" if name in MISSING else "^$")
    measured[name] = asdict(weight) | {"first_paint_ms": round(min(paints))}
    assert weight.own < MOST_OWN_BYTES
    assert weight.data < MOST_DATA_BYTES
    assert min(paints) < SOON_MS


def test_the_plot_library_comes_only_where_something_is_plotted(open_window, paths):
    window = open_window()
    asked = []
    window.page.on("request", lambda request: asked.append(request.url))
    for name in ("jobs", "new job", "fleet", "models", "datasets", "recordings"):
        window.show(paths[name])
    assert [url for url in asked if url.endswith("plotly.min.js")] == []
    window.show(paths["job"])
    window.until("document.querySelector('.js-plotly-plot') !== null")
    assert {url.split("/")[2] for url in asked} == {window.url.split("/")[2]}, "nothing comes from elsewhere"
