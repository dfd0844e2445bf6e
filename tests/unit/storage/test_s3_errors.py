"""What the object store refuses: each refusal its own code and remedy, and none repeated in vain."""

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from heimdall_core.domain.errors import ErrorCategory, NotFound, StorageRefused, StorageUnavailable
from heimdall_core.settings import StorageSettings
from heimdall_core.storage import S3Store
from heimdall_core.storage.s3_errors import translated

URI = "s3://models/a/b"


@pytest.fixture
def store() -> S3Store:
    settings = StorageSettings(
        endpoint_url="http://127.0.0.1:9",
        access_key_id="id",  # type: ignore[arg-type]
        secret_access_key="secret",  # type: ignore[arg-type]
        raw_bucket="raw",
        models_bucket="models",
    )
    return S3Store(settings)


def refused_with(store: S3Store, call: str, code: str, status: int) -> StorageUnavailable:
    with Stubber(store._s3) as stub:
        stub.add_client_error(call, code, http_status_code=status)
        with pytest.raises(StorageUnavailable) as refusal:
            store.get_bytes(URI) if call == "get_object" else store.put_bytes(URI, b"x")
    return refusal.value


@pytest.mark.parametrize("call", ["get_object", "put_object"])
@pytest.mark.parametrize(
    ("vendors", "status", "code", "remedy"),
    [
        ("AccessDenied", 403, "storage_forbidden", "right"),
        ("403", 403, "storage_forbidden", "right"),
        ("SignatureDoesNotMatch", 403, "storage_credentials", "credentials"),
        ("InvalidAccessKeyId", 403, "storage_credentials", "HEIMDALL_STORAGE__ACCESS_KEY_ID"),
        ("ExpiredToken", 400, "storage_credentials", "credentials"),
        ("RequestTimeTooSkewed", 403, "storage_clock_skew", "clock"),
        ("NoSuchBucket", 404, "bucket_not_found", "HEIMDALL_STORAGE__MODELS_BUCKET"),
    ],
)
def test_a_refusal_says_what_a_person_must_put_right_and_is_not_retried(
    store: S3Store, call: str, vendors: str, status: int, code: str, remedy: str
) -> None:
    error = refused_with(store, call, vendors, status)
    assert isinstance(error, StorageRefused)
    assert error.stable_code == code
    assert remedy in (error.hint or "")
    assert error.to_info().retryable is False
    assert error.category is ErrorCategory.INFRA


@pytest.mark.parametrize(("vendors", "status"), [("SlowDown", 503), ("InternalError", 500), ("Moon", 418)])
def test_what_may_pass_is_retried(store: S3Store, vendors: str, status: int) -> None:
    error = refused_with(store, "get_object", vendors, status)
    assert not isinstance(error, StorageRefused)
    assert (error.stable_code, error.to_info().retryable) == ("storage_unavailable", True)


def test_a_store_that_is_away_may_come_back() -> None:
    with pytest.raises(StorageUnavailable) as failure, translated(URI):
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:9")
    assert failure.value.retryable


def test_an_object_that_is_absent_with_its_bucket_is_told_from_one_that_is_absent_alone(
    store: S3Store,
) -> None:
    with Stubber(store._s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_client_error("head_bucket", "404", http_status_code=404)
        with pytest.raises(StorageRefused, match="no bucket models") as refusal:
            store.size(URI)
    assert refusal.value.stable_code == "bucket_not_found"
    with Stubber(store._s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_response("head_bucket", {})
        with pytest.raises(NotFound) as absence:
            store.size(URI)
    assert absence.value.stable_code == "object_not_found"
