"""A job waited for: polled with its ``ETag``, so that an unchanged job costs a 304."""

from http import HTTPStatus
from typing import Final

from heimdall_client.documents.document import parse
from heimdall_client.documents.jobs import Job
from heimdall_client.errors import JobUnsuccessful, RateLimited, Unavailable, WaitTimedOut
from heimdall_client.exchanges import Answer, Request, path_of, retry_after
from heimdall_client.steps import BackOff, Flow, Sleep, now, send

POLL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 300.0
"""How long the service may be away before following a job gives up; the job itself goes on."""


class PolledJob:
    """The newest known state of a job."""

    def __init__(self, job_id: str) -> None:
        self.job: Job | None = None
        self.pause_seconds = POLL_SECONDS
        """What the service asks to wait before the next look."""
        self._path = path_of("jobs", job_id)
        self._etag: str | None = None

    def look(self) -> Flow[bool]:
        """Whether it has changed since the last look.

        Raises:
            HeimdallError: the service refused, or did not answer.
        """
        headers = {} if self._etag is None else {"If-None-Match": self._etag}
        answer: Answer = yield from send(Request(method="GET", path=self._path, headers=headers))
        self.pause_seconds = retry_after(answer) or POLL_SECONDS
        if answer.status == HTTPStatus.NOT_MODIFIED and self.job is not None:
            return False
        self.job, self._etag = parse(Job, answer.json()), answer.headers.get("etag")
        return True

    @property
    def is_terminal(self) -> bool:
        """Whether it is known to have ended."""
        return self.job is not None and self.job.is_terminal


def wait_for(job: Job | str, *, timeout: float | None = None, check: bool = True) -> Flow[Job]:
    """The job once it has ended; a service that is away for minutes is waited for too.

    Args:
        job: The job or its id.
        timeout: Seconds; None: as long as it takes.
        check: Whether a failed or cancelled job raises.

    Raises:
        JobUnsuccessful: it failed or was cancelled, and ``check`` is on.
        WaitTimedOut: it has not ended in time; it goes on.
        Unavailable: the service was away for longer than five minutes.
    """
    polled = PolledJob(id_of(job))
    patience = Patience()
    started = yield from now()
    while True:
        yield from patience.bear(polled.look())
        if polled.is_terminal:
            assert polled.job is not None
            return _checked(polled.job, check=check)
        left = None if timeout is None else timeout - ((yield from now()) - started)
        if left is not None and left <= 0:
            if polled.job is None:
                assert patience.error is not None
                raise patience.error
            raise WaitTimedOut(polled.job, timeout or 0.0)
        yield Sleep(polled.pause_seconds if left is None else min(polled.pause_seconds, left))


class Patience:
    """Bears a service that is away, up to a time."""

    def __init__(self) -> None:
        self.error: Unavailable | RateLimited | None = None
        self._num_failures = 0
        self._since = 0.0

    def bear(self, flow: Flow[bool]) -> Flow[bool]:
        """The flow's result; False where the service is away.

        Raises:
            Unavailable, RateLimited: it has been so for too long.
        """
        try:
            result = yield from flow
        except (Unavailable, RateLimited) as error:
            yield from self._note(error)
            return False
        self.error, self._num_failures = None, 0
        return result

    def _note(self, error: Unavailable | RateLimited) -> Flow[None]:
        moment = yield from now()
        if self.error is None:
            self._since = moment
        self.error = error
        if moment - self._since > PATIENCE_SECONDS:
            raise error
        self._num_failures += 1
        yield BackOff(self._num_failures)


def id_of(job: Job | str) -> str:
    """The id of a job that is given as such or by its id."""
    return job if isinstance(job, str) else job.id


def _checked(job: Job, *, check: bool) -> Job:
    if check and not job.is_successful:
        raise JobUnsuccessful(job)
    return job
