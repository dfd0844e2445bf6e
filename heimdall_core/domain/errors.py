"""Every error of the service, and what its reader can do about it.

    HeimdallError
    ├── RequestError                the caller can mend it
    │   ├── InvalidRequest          one or more fields are wrong (each named)
    │   ├── NotSupportedYet         the contract has it, this version does not
    │   ├── NotFound
    │   ├── Conflict                the present state forbids it
    │   │   ├── PromotionRefused    the gate says no, check by check
    │   │   └── DuplicateJob        another job computes or has computed it
    │   ├── PreconditionFailed      it has changed since the caller read it
    │   ├── Unauthenticated
    │   └── Forbidden
    ├── DataError                   a recording, dataset or checkpoint is unusable
    ├── TrainingError               the configuration cannot be trained
    └── InfrastructureError         a service did not answer: retryable
        ├── StorageUnavailable
        │   └── StorageRefused      it answers, and refuses what is configured: not retryable
        ├── TrackingUnavailable
        └── IssuerUnavailable

Each class carries a stable ``code``; the HTTP status lives in ``api/problems.py`` alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import ClassVar


class ErrorCategory(StrEnum):
    """Who can do something about a failed job."""

    USER = "user"
    DATA = "data"
    INFRA = "infra"
    OOM = "oom"
    BUG = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """The ``error`` member of a job on the wire."""

    code: str
    category: ErrorCategory
    message: str
    retryable: bool = False
    hint: str | None = None

    def to_dict(self) -> dict[str, object]:
        """The wire form."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One wrong field: a JSON pointer into the body, and what to do."""

    pointer: str
    detail: str


class HeimdallError(Exception):
    """The root of the tree; ``hint`` says what the reader can do."""

    code: ClassVar[str] = "internal_error"
    category: ClassVar[ErrorCategory] = ErrorCategory.BUG
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self._code = code

    @property
    def stable_code(self) -> str:
        """The code of this instance: the class's own unless a narrower one was given."""
        return self._code or self.code

    def to_info(self) -> ErrorInfo:
        """The form that a job row keeps."""
        return ErrorInfo(
            code=self.stable_code,
            category=self.category,
            message=self.message,
            retryable=self.retryable,
            hint=self.hint,
        )


class RequestError(HeimdallError):
    """The caller sent something that it can mend; ``problems`` names the fields, where there are any."""

    code = "bad_request"
    category = ErrorCategory.USER

    def __init__(
        self,
        message: str,
        *,
        problems: tuple[FieldProblem, ...] = (),
        hint: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.problems = problems


class InvalidRequest(RequestError):
    """One or more fields of a request are wrong; each is named."""

    code = "invalid_request"


class NotSupportedYet(InvalidRequest):
    """The contract knows the field or value; this version does not build it."""

    code = "not_supported_yet"


class NotFound(RequestError):
    """No such thing, or not yours to see."""

    code = "not_found"


class Conflict(RequestError):
    """The present state of the thing forbids the request."""

    code = "conflict"


class PromotionRefused(Conflict):
    """The gate keeps a version from becoming the champion; ``verdict`` says why, check by check."""

    code = "promotion_refused"

    def __init__(
        self, message: str, *, verdict: Mapping[str, object] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.verdict = verdict


class DuplicateJob(Conflict):
    """Another job computes the same, or has; ``links`` leads to it and to the model version it registered."""

    code = "duplicate_job"

    def __init__(
        self, message: str, *, links: Mapping[str, str] | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.links = links


class PreconditionFailed(RequestError):
    """The thing is not as ``If-Match`` says: it has changed since it was read."""

    code = "precondition_failed"


class Unauthenticated(RequestError):
    """No API key, or one that is not known."""

    code = "unauthenticated"


class Forbidden(RequestError):
    """A known key without the right."""

    code = "forbidden"


class DataError(HeimdallError):
    """A recording, dataset or checkpoint cannot be used."""

    code = "bad_data"
    category = ErrorCategory.DATA


class TrainingError(HeimdallError):
    """The training cannot go on with this configuration."""

    code = "training_failed"
    category = ErrorCategory.USER


class InfrastructureError(HeimdallError):
    """A service did not answer; the same call may succeed later."""

    code = "infrastructure_unavailable"
    category = ErrorCategory.INFRA
    retryable = True


class StorageUnavailable(InfrastructureError):
    """The object store did not answer or refused."""

    code = "storage_unavailable"


class StorageRefused(StorageUnavailable):
    """The object store answers and refuses: credentials, rights or buckets must be put right first."""

    code = "storage_refused"
    retryable = False


class TrackingUnavailable(InfrastructureError):
    """MLflow did not answer."""

    code = "tracking_unavailable"


class IssuerUnavailable(InfrastructureError):
    """The issuer of tokens did not answer, or answered with what are no keys."""

    code = "issuer_unavailable"
