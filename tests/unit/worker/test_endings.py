"""What an exit code means."""

import signal

import pytest

from heimdall_core.domain.errors import DataError, ErrorCategory, InfrastructureError, StorageUnavailable
from worker.endings import EXIT_RANK_LOST, explain_exit
from worker.trainer_process import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, classify
from worker.trainers import SERVER_LOST


def test_success_needs_both_exit_code_and_result() -> None:
    assert explain_exit(EXIT_DONE, None, has_result=True) is None
    silent = explain_exit(EXIT_DONE, None, has_result=False)
    assert silent is not None
    assert silent.code == "trainer_exited"


def test_a_stop_on_request_is_no_error() -> None:
    assert explain_exit(EXIT_STOPPED, None, has_result=False) is None


@pytest.mark.parametrize(
    ("exit_code", "code"),
    [
        (-signal.SIGKILL, "trainer_killed"),
        (-signal.SIGSEGV, "trainer_crashed"),
        (SERVER_LOST, "fork_server_lost"),
        (EXIT_RANK_LOST, "rank_lost"),
        (3, "trainer_exited"),
    ],
)
def test_a_crash_is_retried(exit_code: int, code: str) -> None:
    error = explain_exit(exit_code, None, has_result=False)
    assert error is not None
    assert (error.code, error.category, error.retryable) == (code, ErrorCategory.INFRA, True)


def test_a_rank_that_the_kernel_killed_for_memory_is_out_of_memory() -> None:
    said = InfrastructureError("rank 1 died of SIGKILL", code="rank_lost").to_info().to_dict()
    for memory_ran_out, category in ((True, ErrorCategory.OOM), (False, ErrorCategory.INFRA)):
        error = explain_exit(EXIT_FAILED, said, has_result=False, memory_ran_out=memory_ran_out)
        assert error is not None
        assert error.category is category


def test_what_the_trainer_said_counts_more_than_its_exit_code() -> None:
    said = DataError("no receiver", code="empty_split", hint="add one").to_info().to_dict()
    error = explain_exit(EXIT_FAILED, said, has_result=False)
    assert error is not None
    assert (error.code, error.category, error.hint) == ("empty_split", ErrorCategory.DATA, "add one")


@pytest.mark.parametrize(
    ("error", "category", "retryable"),
    [
        (StorageUnavailable("away"), ErrorCategory.INFRA, True),
        (DataError("bad"), ErrorCategory.DATA, False),
        (MemoryError(), ErrorCategory.OOM, False),
        (OSError(28, "No space left on device"), ErrorCategory.INFRA, True),
        (ValueError("oops"), ErrorCategory.BUG, False),
    ],
)
def test_each_failure_has_its_category(error: Exception, category: ErrorCategory, retryable: bool) -> None:
    info = classify(error)
    assert (info.category, info.retryable) == (category, retryable)
    assert info.message
