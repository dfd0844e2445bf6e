"""What a check finds, and many checks at once within a bounded time."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

TIMEOUT_SECONDS: Final = 5.0
"""How long one question may wait for its answer."""


class State(StrEnum):
    """How good what was found is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the diagnosis, and what to do where it is not good."""

    subject: str
    state: State
    message: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The JSON form."""
        return asdict(self)


Findings = Sequence[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question about one subject that needs no answer of another check."""

    subject: str
    run: Callable[[], Findings]
    limit_seconds: float = TIMEOUT_SECONDS + 1.0


def fine(subject: str, message: str) -> Finding:
    """A finding that needs nothing done."""
    return Finding(subject=subject, state=State.OK, message=message)


def doubtful(subject: str, message: str, remedy: str) -> Finding:
    """A finding with which the service works, but not well."""
    return Finding(subject=subject, state=State.WARNING, message=message, remedy=remedy)


def broken(subject: str, message: str, remedy: str) -> Finding:
    """A finding with which the service does not work."""
    return Finding(subject=subject, state=State.FAILED, message=message, remedy=remedy)


def run_checks(checks: Iterable[Check]) -> list[Finding]:
    """Runs all checks at once; the findings come in the order of the checks.

    A check that is not done in time is a finding itself, and its thread is left behind.
    """
    running = [_Running(check) for check in checks]
    return [finding for one in running for finding in one.findings()]


class _Running:
    """A check in a thread of its own, which does not keep the program from ending."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._ends_at = time.monotonic() + check.limit_seconds
        self._found: Findings | None = None
        self._thread = threading.Thread(target=self._run, name=f"doctor-{check.subject}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._check.run()
        except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
            message = " ".join(f"the check itself failed: {type(error).__name__}: {error}".split())
            self._found = [broken(self._check.subject, message, "report this as a bug, with this line")]

    def findings(self) -> Findings:
        self._thread.join(max(0.0, self._ends_at - time.monotonic()))
        if self._found is not None:
            return self._found
        return [
            broken(
                self._check.subject,
                f"no answer within {self._check.limit_seconds:.0f} s",
                "look whether it is overloaded, or a firewall drops the packets",
            )
        ]
