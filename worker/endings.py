"""What an exit code, together with what the trainer said and what we did to it, means."""

import signal
from typing import Any

from heimdall_core.domain.errors import ErrorCategory, ErrorInfo
from worker.trainer_process import EXIT_DONE, EXIT_STOPPED, out_of_memory
from worker.trainers import SERVER_LOST

#: ``heimdall_core.training.ranks.EXIT_RANK_LOST``, which this process cannot import: it would load torch.
EXIT_RANK_LOST = 76
RANK_LOST = "rank_lost"


def explain_exit(
    exit_code: int, error: dict[str, Any] | None, *, has_result: bool, memory_ran_out: bool = False
) -> ErrorInfo | None:
    """The error of an attempt; None: it succeeded, or stopped because it was asked to.

    ``memory_ran_out``: the kernel killed a process of this host or of our group for want of memory meanwhile.
    """
    if error is not None and error["code"] == RANK_LOST and memory_ran_out:
        return out_of_memory("the kernel killed a rank of the training because the host ran out of memory")
    if error is not None:
        return ErrorInfo(**(error | {"category": ErrorCategory(error["category"])}))
    if (exit_code == EXIT_DONE and has_result) or exit_code == EXIT_STOPPED:
        return None
    if exit_code == -signal.SIGKILL and memory_ran_out:
        return out_of_memory("the kernel killed the trainer because the host ran out of memory")
    return _explain_crash(exit_code)


TIME_LIMIT = ErrorInfo(
    code="time_limit",
    category=ErrorCategory.USER,
    message="the job ran for longer than limits.max_runtime_seconds",
    hint="POST :retry with from_checkpoint goes on from the newest durable checkpoint.",
)


def _explain_crash(exit_code: int) -> ErrorInfo:
    if exit_code == SERVER_LOST:
        return _crash("fork_server_lost", "the fork server died and its trainers with it")
    if exit_code == EXIT_RANK_LOST:
        return _crash(RANK_LOST, "a rank of the training was lost", "The job's log says which, and how.")
    if exit_code == -signal.SIGKILL:
        hint = "Somebody or the kernel's memory killer sent SIGKILL; see the host's kernel log."
        return _crash("trainer_killed", "the trainer was killed", hint)
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        return _crash("trainer_crashed", f"the trainer died of {name}", "The job's log may say more.")
    return _crash("trainer_exited", f"the trainer ended with code {exit_code} and no result")


def _crash(code: str, message: str, hint: str | None = None) -> ErrorInfo:
    return ErrorInfo(code=code, category=ErrorCategory.INFRA, message=message, retryable=True, hint=hint)
