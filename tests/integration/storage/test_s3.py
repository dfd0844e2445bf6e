"""S3 over the wire, and what becomes of its errors."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from heimdall_core.domain.errors import DataError, NotFound, StorageRefused, StorageUnavailable
from heimdall_core.settings import Settings, StorageSettings
from heimdall_core.storage import S3Store

URI = "s3://heimdall-models/tests/object.bin"


def test_what_is_put_can_be_read_whole_and_in_part(store: S3Store) -> None:
    stored = store.put_bytes(URI, b"0123456789")
    assert store.get_bytes(URI) == b"0123456789"
    assert store.get_bytes(URI, offset=3, num_bytes=4) == b"3456"
    assert store.get_bytes(URI, offset=8) == b"89"
    assert store.size(URI) == stored.num_bytes == 10


def test_files_go_up_and_come_down(store: S3Store, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 100_000)
    stored = store.put_file(URI, source)
    store.get_file(URI, target)
    assert target.read_bytes() == source.read_bytes()
    assert stored.num_bytes == 100_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "target"]


def test_presigned_urls_work_without_credentials(store: S3Store) -> None:
    assert httpx.put(store.presign_put(URI), content=b"hello").is_success
    assert httpx.get(store.presign_get(URI)).content == b"hello"
    part = httpx.get(store.presign_get(URI), headers={"Range": "bytes=1-2"})
    assert part.content == b"el"


def test_presigned_urls_name_the_public_endpoint(settings: Settings) -> None:
    public = settings.storage.model_copy(update={"public_endpoint_url": "https://s3.example.org"})
    assert S3Store(public).presign_get(URI).startswith("https://s3.example.org/heimdall-models/tests/")


def test_a_missing_object_is_not_found(store: S3Store, tmp_path: Path) -> None:
    for read in (
        lambda: store.get_bytes("s3://heimdall-models/none"),
        lambda: store.get_file("s3://heimdall-models/none", tmp_path / "x"),
        lambda: store.size("s3://heimdall-models/none"),
    ):
        with pytest.raises(NotFound):
            read()
    assert list(tmp_path.iterdir()) == []


def test_a_range_beyond_the_end_is_bad_data(store: S3Store) -> None:
    store.put_bytes(URI, b"short")
    with pytest.raises(DataError, match="shorter"):
        store.get_bytes(URI, offset=100, num_bytes=10)


def test_a_missing_bucket_is_named_and_not_retried(settings: Settings, tmp_path: Path) -> None:
    lost = S3Store(settings.storage.model_copy(update={"models_bucket": "no-such-bucket"}))
    uri, file = "s3://no-such-bucket/a", tmp_path / "file"
    file.write_bytes(b"x")
    for call in (
        lost.ping,
        lambda: lost.get_bytes(uri),
        lambda: lost.get_file(uri, tmp_path / "x"),
        lambda: lost.size(uri),
        lambda: lost.put_bytes(uri, b"x"),
        lambda: lost.put_file(uri, file),
    ):
        with pytest.raises(StorageRefused, match="no bucket no-such-bucket") as refusal:
            call()
        assert (refusal.value.stable_code, refusal.value.retryable) == ("bucket_not_found", False)


def test_wrong_credentials_are_an_infrastructure_error_with_a_hint(settings: Settings) -> None:
    wrong = StorageSettings(
        endpoint_url=settings.storage.endpoint_url, access_key_id="wrong", secret_access_key="wrong"
    )
    with pytest.raises(StorageRefused) as refusal:
        S3Store(wrong).get_bytes(URI)
    assert refusal.value.stable_code in {"storage_credentials", "storage_forbidden"}
    assert refusal.value.hint is not None
    assert "credentials" in refusal.value.hint


def test_a_store_that_is_away_is_an_infrastructure_error(tmp_path: Path) -> None:
    away = StorageSettings(endpoint_url="http://127.0.0.1:9", access_key_id="a", secret_access_key="b")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for call in (
        lambda s: s.get_bytes(URI),
        lambda s: s.put_bytes(URI, b"x"),
        lambda s: s.put_file(URI, file),
        lambda s: s.delete(URI),
        lambda s: s.delete_all([URI]),
        lambda s: s.list_sizes(URI),
        lambda s: s.abort_uploads("heimdall-models", begun_before=datetime.now(UTC)),
    ):
        with pytest.raises(StorageUnavailable) as failure:
            call(S3Store(away))
        assert failure.value.retryable


def test_objects_are_listed_and_deleted_beyond_one_page(store: S3Store) -> None:
    base = "s3://heimdall-models/tests/listing"
    keys = {f"{base}/a1/{number:04}" for number in range(1005)}
    for uri in keys:
        store.put_bytes(uri, b"12")
    store.put_bytes(f"{base}/a10/x", b"1")
    assert store.list_sizes(f"{base}/a1/") == dict.fromkeys(keys, 2)
    assert store.list_sizes(f"{base}/none/") == {}
    store.delete_all([*keys, f"{base}/none/x"])
    assert store.list_sizes(f"{base}/") == {f"{base}/a10/x": 1}


def test_a_deleted_object_is_gone_and_deleting_it_again_is_no_error(store: S3Store) -> None:
    store.put_bytes(URI, b"x")
    store.delete(URI)
    store.delete(URI)
    with pytest.raises(NotFound):
        store.get_bytes(URI)


def test_uploads_that_were_never_completed_are_dropped_once_they_are_old(store: S3Store) -> None:
    client, key = store._s3, "tests/unfinished.bin"
    assert store.abort_uploads("heimdall-mlflow", begun_before=datetime.now(UTC)) == 0
    begun = client.create_multipart_upload(Bucket="heimdall-models", Key=key)
    part = {"Bucket": "heimdall-models", "Key": key, "UploadId": begun["UploadId"], "PartNumber": 1}
    client.upload_part(**part, Body=b"x" * 100)
    now = datetime.now(UTC)
    assert store.abort_uploads("heimdall-models", begun_before=now - timedelta(hours=1)) == 0
    assert store.abort_uploads("heimdall-models", begun_before=now + timedelta(hours=1)) == 1
    assert store.abort_uploads("heimdall-models", begun_before=now + timedelta(hours=1)) == 0
