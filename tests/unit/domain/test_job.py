"""The life of a job."""

from heimdall_core.domain.job import TRANSITIONS, JobStatus, Priority


def test_exactly_the_last_three_statuses_are_terminal() -> None:
    assert {s for s in JobStatus if s.is_terminal} == {
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }


def test_every_status_is_reached_from_queued() -> None:
    seen, todo = {JobStatus.QUEUED}, [JobStatus.QUEUED]
    while todo:
        new = TRANSITIONS[todo.pop()] - seen
        seen |= new
        todo += new
    assert seen == set(JobStatus)


def test_every_status_that_is_not_terminal_can_be_cancelled() -> None:
    assert all(JobStatus.CANCELLED in TRANSITIONS[s] for s in JobStatus if not s.is_terminal)


def test_priorities_are_ordered() -> None:
    assert Priority.LOW.rank < Priority.NORMAL.rank < Priority.HIGH.rank
