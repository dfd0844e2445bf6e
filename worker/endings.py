"""What an exit code, together with what the trainer said and what we did to it, means."""

import signal
from typing import Any

from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from worker.trainer_process import EXIT_DONE, EXIT_STOPPED
from worker.trainers import SERVER_LOST


def explain_exit(exit_code: int, error: dict[str, Any] | None, *, has_result: bool) -> ErrorInfo | None:
    """The error of an attempt; None: it succeeded, or stopped because it was asked to."""
    if error is not None:
        return ErrorInfo(**(error | {"category": ErrorCategory(error["category"])}))
    if (exit_code == EXIT_DONE and has_result) or exit_code == EXIT_STOPPED:
        return None
    return _explain_crash(exit_code)


def _explain_crash(exit_code: int) -> ErrorInfo:
    if exit_code == SERVER_LOST:
        return _crash("fork_server_lost", "the fork server died and its trainers with it")
    if exit_code == -signal.SIGKILL:
        hint = "Somebody or the kernel's memory killer sent SIGKILL; see the host's kernel log."
        return _crash("trainer_killed", "the trainer was killed", hint)
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return _crash("trainer_crashed", f"the trainer died of {name}", "The job's log may say more.")
    return _crash("trainer_exited", f"the trainer ended with code {exit_code} and no result")


def _crash(code: str, message: str, hint: str | None = None) -> ErrorInfo:
    return ErrorInfo(code=code, category=ErrorCategory.INFRA, message=message, retryable=True, hint=hint)
