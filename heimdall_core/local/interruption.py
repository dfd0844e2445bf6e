"""Ctrl-C as a request to stop at the next safe point, where a checkpoint is kept."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STATUS_OF_SIGNALS = 128


class Interruption:
    """A context in which the first SIGINT or SIGTERM is noted and the second ends the process."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._number: int | None = None
        self._former: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether to stop."""
        return self._number is not None

    @property
    def exit_status(self) -> int:
        """What a process that stopped so ends with: 130 after Ctrl-C."""
        return _STATUS_OF_SIGNALS + (self._number or signal.SIGINT)

    def __enter__(self) -> Self:
        self._former = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._number is not None:
            raise SystemExit(self.exit_status)
        self._number = number
        self._tell("stopping at the next step; Ctrl-C again stops at once")
