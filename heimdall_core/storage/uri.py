"""``s3://bucket/key``."""

from heimdall_core.domain.errors import DataError

SCHEME = "s3://"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an object's URI.

    Raises:
        DataError: the text is no such URI.
    """
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    if not uri.startswith(SCHEME) or not bucket or not key or ".." in key.split("/"):
        raise DataError(f"{uri!r} is not s3://bucket/key", code="bad_object_uri")
    return bucket, key


def join_uri(base: str, *parts: str) -> str:
    """Appends path segments to a URI."""
    return "/".join([base.rstrip("/"), *(p.strip("/") for p in parts)])


def object_uri(location: str, *, bucket: str) -> str:
    """The URI of an object that is named by its URI or by its bare key in ``bucket``."""
    return location if "://" in location else f"{SCHEME}{bucket}/{location.lstrip('/')}"
