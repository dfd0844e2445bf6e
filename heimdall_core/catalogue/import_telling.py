"""What every import tells its reporter, and asks of it."""

from heimdall_core.domain.ports import JobStopped, Reporter
from heimdall_core.recordings.refusal import RefusedFile

MAX_REFUSAL_EVENTS = 50
"""The report names every refused file; the job's history only the first ones."""


def check_stop(reporter: Reporter) -> None:
    """Raises JobStopped if a stop was requested."""
    if request := reporter.stop_requested():
        raise JobStopped(request)


def tell_refusal(refused: RefusedFile, reporter: Reporter, *, num_before: int) -> None:
    """A line of the job's history, for the first refusals."""
    if num_before < MAX_REFUSAL_EVENTS:
        reporter.event(
            "file_refused", file=refused.name, code=refused.code, message=refused.message, hint=refused.hint
        )
