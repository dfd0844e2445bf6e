"""What boto3 raises, in the words of this service: which of it may pass, and which needs a person."""

from collections.abc import Iterator
from contextlib import contextmanager

import boto3.exceptions
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from heimdall_core.domain.errors import DataError, NotFound, StorageRefused, StorageUnavailable

HINT = "Check that the object store is up and that HEIMDALL_STORAGE__* names it with valid credentials."
_RIGHTS = (
    "Give the key of HEIMDALL_STORAGE__ACCESS_KEY_ID the right to list the bucket and to get, put and delete "
    "its objects; the credentials themselves are valid."
)
_CREDENTIALS = (
    "Set HEIMDALL_STORAGE__ACCESS_KEY_ID and HEIMDALL_STORAGE__SECRET_ACCESS_KEY to valid credentials of it."
)
_BUCKETS = "Create it, or name another: HEIMDALL_STORAGE__RAW_BUCKET, HEIMDALL_STORAGE__MODELS_BUCKET."
_ABSENT = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound"})
_FORBIDDEN = frozenset({"AccessDenied", "AllAccessDisabled", "403", "Forbidden"})
_UNKNOWN_KEY = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
    }
)


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turns what a call on an object, or on ``s3://bucket/``, raises into this service's errors.

    Raises:
        NotFound: the object is absent.
        DataError: it is shorter than the range asked for.
        StorageRefused: the store forbids the call, or the bucket is absent: repeating it changes nothing.
        StorageUnavailable: the store did not answer; the same call may succeed later.
    """
    try:
        yield
    except ClientError as error:
        raise _from_client_error(error, uri) from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise StorageUnavailable(f"{uri}: {error}", hint=HINT) from error
    except boto3.exceptions.Boto3Error as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ClientError):
            raise _from_client_error(cause, uri) from error
        raise StorageUnavailable(f"{uri}: {error}", hint=HINT) from error


def no_bucket(bucket: str) -> StorageRefused:
    """The bucket is absent."""
    return StorageRefused(f"no bucket {bucket}", code="bucket_not_found", hint=_BUCKETS)


def _from_client_error(error: ClientError, uri: str) -> NotFound | StorageUnavailable | DataError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in _ABSENT:
        return NotFound(f"no object {uri}", code="object_not_found")
    if code == "InvalidRange":
        return DataError(f"{uri} is shorter than the range asked for", code="object_too_short")
    return _refusal(code, uri) or StorageUnavailable(f"{uri}: {code or error}", hint=HINT)


def _refusal(code: str, uri: str) -> StorageRefused | None:
    """What a person must put right; None for what may pass."""
    if code == "NoSuchBucket":
        return no_bucket(uri.removeprefix("s3://").partition("/")[0])
    if code in _FORBIDDEN:
        return StorageRefused(f"{uri}: the store forbids it", code="storage_forbidden", hint=_RIGHTS)
    if code in _UNKNOWN_KEY:
        return StorageRefused(
            f"{uri}: the store does not know the credentials ({code})",
            code="storage_credentials",
            hint=_CREDENTIALS,
        )
    if code == "RequestTimeTooSkewed":
        return StorageRefused(
            f"{uri}: the clock of this machine is not that of the object store",
            code="storage_clock_skew",
            hint="Set this machine's clock by NTP.",
        )
    return None
