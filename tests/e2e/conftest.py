"""The whole service as ``heimdall up`` starts it, small real trainings, and Debian's Chromium in front of it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from heimdall_client import Dataset, Job, NotFound
from tests.acceptance.conftest import archives
from tests.e2e.stack import Stack, running, started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.e2e.watching import Window

__all__ = ["archives"]

PICTURES = Path(__file__).parents[2] / "build" / "e2e"
FAILED = pytest.StashKey[bool]()
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Minutes, a browser and its packages: only for whoever asks for them by name (``make e2e``)."""
    asked = any("e2e" in str(argument) for argument in config.invocation_params.args)
    return None if asked else True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Notes whether the test failed: then its windows leave a last picture."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def service() -> Iterator[Stack]:
    """In a folder with a short name, as the sockets of its engines need one; or the one of ``E2E_HOME``."""
    if given := os.environ.get("E2E_HOME"):
        with running(Path(given)) as stack:
            yield stack
        return
    home = Path(tempfile.mkdtemp(prefix="he2e-"))
    try:
        with started(home) as stack:
            yield stack
    finally:
        logs = PICTURES / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        if (home / "logs").exists():
            shutil.copytree(home / "logs", logs)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def dataset(service: Stack, archives: dict[str, bytes]) -> Dataset:
    """Sixty sessions of world A as a small dataset."""
    try:
        return service.heimdall.datasets.get("tiny")
    except NotFound:
        service.freeze("tiny", archives)
        return service.heimdall.datasets.get("tiny")


@pytest.fixture(scope="session")
def trained(service: Stack, dataset: Dataset) -> list[Job]:
    """Two trainings to their end, each a version of the model."""
    jobs = service.tagged("trained", status="succeeded")
    if len(jobs) < 2:
        jobs = [service.submit("trained", epochs=6, seed=seed) for seed in (1, 2)]
    return sorted((service.finished(job.id) for job in jobs), key=lambda job: job.created_at)


@pytest.fixture(scope="session", autouse=True)
def no_former_failures() -> None:
    """What failed before is not taken for what fails now."""
    for picture in PICTURES.glob("failed-*.png"):
        picture.unlink()


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


def chromium() -> str:
    """The browser's program: ``CHROMIUM``, else the first that is installed."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None or not Path(found).exists():
        pytest.exit("no Chromium: apt-get install chromium, or name one by CHROMIUM=/path/to/chromium", 2)
    return found


@pytest.fixture(scope="session")
def signed_in(browser: "Browser", service: Stack) -> Any:
    """The cookie of somebody who may do everything."""
    from tests.e2e.watching import Window

    window = Window.opened(browser, service.url, pictures=PICTURES)
    window.sign_in(service.key)
    state = window.context.storage_state()
    window.close(None)
    return state


@pytest.fixture
def open_window(
    browser: "Browser", service: Stack, signed_in: Any, request: pytest.FixtureRequest
) -> "Iterator[Callable[..., Window]]":
    """Opens windows, each a browser of its own; none may have complained when the test ends."""
    from tests.e2e.watching import Window

    windows: list[Window] = []

    def open_one(key: str | None = service.key, **options: Any) -> Window:
        state = signed_in if key == service.key else None
        window = Window.opened(browser, service.url, pictures=PICTURES, storage_state=state, **options)
        windows.append(window)
        if key is not None and state is None:
            window.sign_in(key)
        return window

    yield open_one
    for number, window in enumerate(windows):
        has_failed = request.node.stash.get(FAILED, False) or window.faults
        window.close(f"failed-{request.node.name}-{number}" if has_failed else None)
    assert [window.faults for window in windows] == [[] for _ in windows]


@pytest.fixture
def window(open_window: "Callable[..., Window]") -> "Window":
    """Signed in with the key that may do everything."""
    return open_window()


@pytest.fixture
def page(window: "Window") -> "Page":
    return window.page
