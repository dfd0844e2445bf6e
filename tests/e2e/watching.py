"""A window of the browser that notes every complaint, and measures what a page weighs and how soon it shows."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

GRAVE = {"serious", "critical"}
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
QUIET = (
    "performance.now() - Math.max(0, ...performance.getEntriesByType('resource')"
    ".map((entry) => entry.responseEnd)) > 400"
)
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
_ABORTED = "net::ERR_ABORTED"


@dataclass
class Window:
    """One person's browser."""

    context: BrowserContext
    page: Page
    url: str
    pictures: Path
    faults: list[str] = field(default_factory=list)

    @classmethod
    def opened(cls, browser: Browser, url: str, *, pictures: Path, **options: Any) -> Self:
        """A window of its own: nothing is kept from others."""
        defaults = {"viewport": {"width": 1280, "height": 800}, "timezone_id": "Europe/Rome"}
        context = browser.new_context(base_url=url, **{**defaults, **options})
        window = cls(context=context, page=context.new_page(), url=url, pictures=pictures)
        window._listen()
        return window

    def _listen(self) -> None:
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.faults.append(f"exception: {error}"))
        self.page.on("requestfailed", self._note_failure)
        self.page.on("response", self._note_answer)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"{message.type}: {message.text} at {message.location.get('url')}")

    def _note_failure(self, request: Request) -> None:
        if request.failure != _ABORTED:
            self.faults.append(f"failed: {request.method} {request.url}: {request.failure}")

    def _note_answer(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"{response.status}: {response.request.method} {response.url}")

    def forgive(self, pattern: str) -> list[str]:
        """Takes out of the complaints those that a test has caused itself, and returns them."""
        forgiven = [fault for fault in self.faults if re.search(pattern, fault)]
        self.faults[:] = [fault for fault in self.faults if fault not in forgiven]
        return forgiven

    def sign_in(self, key: str) -> None:
        """As a person does: through the form."""
        self.page.goto("/sign-in")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)

    def show(self, path: str) -> None:
        """Goes to a page, and waits until it asks for nothing more but the stream."""
        self.page.goto(path)
        self.settle()

    def settle(self) -> None:
        """Waits until no skeleton is left and nothing was asked for half a second."""
        self.until(f"!document.querySelector('.skeleton') && {QUIET}")

    def until(self, expression: str, *, seconds: float = 30) -> None:
        """Waits until an expression holds in the page; asked from outside, as the page forbids ``eval``."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression} did not come to pass"
            self.page.wait_for_timeout(50)

    def picture(self, name: str, *, whole: bool = True) -> Path:
        """Keeps what the page shows."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        path = self.pictures / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name)}.png"
        self.page.screenshot(path=path, full_page=whole, animations="disabled")
        return path

    def grave_findings(self) -> list[str]:
        """What axe finds to keep people from using the page."""
        found = Axe().run(self.page).response["violations"]
        return [_told(one) for one in found if one["impact"] in GRAVE]

    def close(self, name: str | None) -> None:
        """Ends it, with a last picture if it has a name."""
        if name and not self.page.is_closed():
            self.picture(name, whole=False)
        self.context.close()


def _told(violation: dict[str, Any]) -> str:
    places = [" ".join(map(str, node["target"])) for node in violation["nodes"][:4]]
    return f"{violation['id']} ({violation['impact']}): {violation['help']}: {'; '.join(places)}"


@dataclass
class Weight:
    """What a page makes the browser fetch, in bytes."""

    own: int = 0
    """Of its HTML, scripts and styles, as they are when unpacked."""
    own_sent: int = 0
    """Of the same, as they are sent."""
    data: int = 0
    """Of what it asks the API for, the stream left out."""
    plots: int = 0
    """Of the plot library."""

    @classmethod
    def of(cls, window: Window, path: str) -> Self:
        """Of a page that nothing was kept of before."""
        responses: list[Response] = []

        def keep(response: Response) -> None:
            responses.append(response)

        window.page.on("response", keep)
        window.show(path)
        window.page.remove_listener("response", keep)
        weight = cls()
        for response in responses:
            weight._add(response)
        return weight

    def _add(self, response: Response) -> None:
        if "text/event-stream" in response.headers.get("content-type", ""):
            return
        sent = int(response.request.sizes()["responseBodySize"])
        if response.url.endswith("plotly.min.js"):
            self.plots += sent
        elif "/v1/" in response.url:
            self.data += sent
        elif response.ok:
            self.own += len(response.body())
            self.own_sent += sent
