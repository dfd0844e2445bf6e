"""What a command says when the API does not do what was asked.

RequestRefused       the API answered with a problem document
ServerUnreachable    nobody answers at the API's address
ServerUnknown        no address was given and no local stack runs
JobUnsuccessful      a job that was followed failed or was cancelled
"""

from heimdall_core.domain.errors import HeimdallError, InfrastructureError, RequestError


class RequestRefused(RequestError):
    """The API answered with a problem document."""

    def __init__(
        self, message: str, *, status: int, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


class ServerUnreachable(InfrastructureError):
    """Nobody answers at the API's address."""

    code = "server_unreachable"


class ServerUnknown(InfrastructureError):
    """No address was given and no local stack runs."""

    code = "server_unknown"


class JobUnsuccessful(HeimdallError):
    """A job that was followed failed or was cancelled."""

    code = "job_unsuccessful"
