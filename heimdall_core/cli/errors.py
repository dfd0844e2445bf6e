"""What a command says when it cannot do what was asked, and the exit code that goes with it.

RequestRefused       the API answered with a problem document
ServerUnreachable    nobody answers at the API's address
ServerUnknown        no address was given and no local stack runs
JobUnsuccessful      a job that was followed failed or was cancelled
SettingsUnusable     HEIMDALL_* settings are missing or malformed; each is named
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

from heimdall_core.domain.errors import HeimdallError, InfrastructureError, RequestError


class ExitCode(IntEnum):
    """How a command ends."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_SERVICE = 3
    INTERRUPTED = 130


EXIT_CODES: Final[Mapping[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "the service refused, a job failed or was cancelled, a check or the command failed",
    ExitCode.USAGE: "wrong usage: an unknown option, a missing argument, a value out of bounds",
    ExitCode.NO_SERVICE: "the service cannot be reached, or none is known",
    ExitCode.INTERRUPTED: "interrupted",
}
"""What each exit code means: the one table, which the help and the reference print."""


class RequestRefused(RequestError):
    """The API answered with a problem document."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        hint: str | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status
        self.problem = problem or {}


class ServerUnreachable(InfrastructureError):
    """Nobody answers at the API's address."""

    code = "server_unreachable"


class ServerUnknown(InfrastructureError):
    """No address was given and no local stack runs."""

    code = "server_unknown"


class JobUnsuccessful(HeimdallError):
    """A job that was followed failed or was cancelled."""

    code = "job_unsuccessful"


class SettingsUnusable(HeimdallError):
    """Settings are missing or malformed; ``lines`` names the variable of each."""

    code = "settings_unusable"

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__(
            "\n       ".join(lines),
            hint="set them in the environment or in .env; `heimdall doctor` checks them all",
        )
        self.lines = tuple(lines)


def exit_code_of(error: HeimdallError) -> ExitCode:
    """The exit code of a command that ends by this error."""
    away = isinstance(error, ServerUnreachable | ServerUnknown)
    return ExitCode.NO_SERVICE if away else ExitCode.FAILED
