"""S3 through boto3: MinIO, AWS, rclone."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from heimdall_core.domain.errors import NotFound, StorageUnavailable
from heimdall_core.domain.ports import StoredObject
from heimdall_core.settings import StorageSettings
from heimdall_core.storage.s3_errors import HINT, no_bucket, translated
from heimdall_core.storage.uri import split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import MultipartUploadTypeDef

DEFAULT_MEDIA_TYPE = "application/octet-stream"
_READ_BLOCK = 1 << 20
_DELETE_LIMIT = 1000
"""Objects that one request may name."""
_SINGLE_PUT_LIMIT = 64 << 20
_TRANSFER = TransferConfig(multipart_threshold=_SINGLE_PUT_LIMIT, max_concurrency=4)


class S3Store:
    """The object store of ``settings``; safe for threads.

    Vendor errors become ``NotFound``, ``StorageRefused`` and ``StorageUnavailable`` here and nowhere else.
    """

    def __init__(self, settings: StorageSettings, *, max_connections: int = 16) -> None:
        self._settings = settings
        self._max_connections = max_connections

    def _client(self, endpoint_url: str | None) -> "S3Client":
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=self._settings.region,
            aws_access_key_id=self._settings.access_key_id.get_secret_value(),
            aws_secret_access_key=self._settings.secret_access_key.get_secret_value(),
            config=Config(
                connect_timeout=3,
                read_timeout=30,
                retries={"total_max_attempts": 3, "mode": "standard"},
                signature_version="s3v4",
                s3={"addressing_style": "path" if endpoint_url else "auto"},
                max_pool_connections=self._max_connections,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    @cached_property
    def _s3(self) -> "S3Client":
        return self._client(self._settings.endpoint_url)

    @cached_property
    def _public(self) -> "S3Client":
        return self._client(self._settings.public_endpoint_url or self._settings.endpoint_url)

    def get_bytes(self, uri: str, *, offset: int = 0, num_bytes: int | None = None) -> bytes:
        """The object, or a range of it."""
        bucket, key = split_uri(uri)
        with translated(uri):
            if offset or num_bytes is not None:
                last = "" if num_bytes is None else str(offset + num_bytes - 1)
                answer = self._s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={offset}-{last}")
            else:
                answer = self._s3.get_object(Bucket=bucket, Key=key)
            return answer["Body"].read()

    def put_bytes(self, uri: str, data: bytes, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Stores the bytes; the store checks them against an MD5 on the way."""
        bucket, key = split_uri(uri)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        with translated(uri):
            self._s3.put_object(Bucket=bucket, Key=key, Body=data, ContentType=media_type, ContentMD5=md5)
        return StoredObject(
            uri=uri, sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data), media_type=media_type
        )

    def put_file(self, uri: str, path: Path, *, media_type: str = DEFAULT_MEDIA_TYPE) -> StoredObject:
        """Uploads a file and confirms its size with the store before returning."""
        bucket, key = split_uri(uri)
        sha256, num_bytes = hash_file(path)
        with translated(uri):
            self._s3.upload_file(
                str(path), bucket, key, ExtraArgs={"ContentType": media_type}, Config=_TRANSFER
            )
        stored = self.size(uri)
        if stored != num_bytes:
            raise StorageUnavailable(
                f"{uri} has {stored} bytes after an upload of {num_bytes}", code="upload_incomplete"
            )
        return StoredObject(uri=uri, sha256=sha256, num_bytes=num_bytes, media_type=media_type)

    def get_file(self, uri: str, path: Path) -> None:
        """Downloads to a file; a broken download leaves nothing at ``path``."""
        bucket, key = split_uri(uri)
        part = path.with_name(f".{path.name}.part")
        with translated(uri):
            self._s3.download_file(bucket, key, str(part), Config=_TRANSFER)
        part.replace(path)

    def size(self, uri: str) -> int:
        """Bytes of the object."""
        bucket, key = split_uri(uri)
        try:
            with translated(uri):
                return self._s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        except NotFound:
            # A HEAD has no words for which of the two is absent.
            self._require_bucket(bucket)
            raise

    def list_sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each object whose URI begins with ``prefix``, by URI."""
        bucket, key = split_uri(prefix)
        with translated(prefix):
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
            return {
                f"s3://{bucket}/{entry['Key']}": entry["Size"]
                for page in pages
                for entry in page.get("Contents", ())
            }

    def delete(self, uri: str) -> None:
        """Deletes the object; one that is absent already is no error."""
        bucket, key = split_uri(uri)
        with suppress(NotFound), translated(uri):
            self._s3.delete_object(Bucket=bucket, Key=key)

    def delete_all(self, uris: Iterable[str]) -> None:
        """Deletes the objects; those that are absent already are no error."""
        keys: dict[str, list[str]] = {}
        for uri in uris:
            bucket, key = split_uri(uri)
            keys.setdefault(bucket, []).append(key)
        for bucket, all_keys in keys.items():
            for start in range(0, len(all_keys), _DELETE_LIMIT):
                self._delete_batch(bucket, all_keys[start : start + _DELETE_LIMIT])

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> None:
        uri = f"s3://{bucket}/"
        with translated(uri):
            answer = self._s3.delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        refused = [error for error in answer.get("Errors", ()) if error.get("Code") != "NoSuchKey"]
        if refused:
            raise StorageUnavailable(f"{uri}{refused[0].get('Key')}: {refused[0].get('Code')}", hint=HINT)

    def abort_uploads(self, bucket: str, *, begun_before: datetime) -> int:
        """Drops the parts of uploads that were begun so long ago and never completed; returns how many."""
        stale = [upload for upload in self._open_uploads(bucket) if upload["Initiated"] < begun_before]
        for upload in stale:
            key, upload_id = upload["Key"], upload["UploadId"]
            with suppress(NotFound), translated(f"s3://{bucket}/{key}"):
                self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        return len(stale)

    def _open_uploads(self, bucket: str) -> "list[MultipartUploadTypeDef]":
        # rclone answers NoSuchUpload for a bucket that never saw an upload in parts.
        with suppress(NotFound), translated(f"s3://{bucket}/"):
            pages = self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
            return [upload for page in pages for upload in page.get("Uploads", ())]
        return []

    def ping(self) -> None:
        """Raises StorageUnavailable unless both buckets answer."""
        for bucket in (self._settings.raw_bucket, self._settings.models_bucket):
            self._require_bucket(bucket)

    def _require_bucket(self, bucket: str) -> None:
        try:
            with translated(f"s3://{bucket}/"):
                self._s3.head_bucket(Bucket=bucket)
        except NotFound as error:
            raise no_bucket(bucket) from error

    def presign_get(self, uri: str) -> str:
        """A URL that anybody may GET for ``presign_seconds``."""
        return self._presign("get_object", uri)

    def presign_put(self, uri: str) -> str:
        """A URL that anybody may PUT to for ``presign_seconds``."""
        return self._presign("put_object", uri)

    def _presign(self, call: str, uri: str) -> str:
        bucket, key = split_uri(uri)
        sign: Callable[..., str] = self._public.generate_presigned_url
        return sign(call, Params={"Bucket": bucket, "Key": key}, ExpiresIn=self._settings.presign_seconds)


def hash_file(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    digest, num_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BLOCK):
            digest.update(block)
            num_bytes += len(block)
    return digest.hexdigest(), num_bytes
