"""Checks of the object store: every bucket is written, read, handed out and cleaned with a probe object."""

import uuid
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import httpx

from heimdall_core.cli.client import is_local
from heimdall_core.cli.doctor_causes import Address, Cause, address_of, cause_of, redact
from heimdall_core.cli.doctor_database import check_skew
from heimdall_core.cli.doctor_findings import (
    TIMEOUT_SECONDS,
    Check,
    Findings,
    broken,
    fine,
)
from heimdall_core.settings import StorageSettings

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3.client import S3Client

PROBE: Final = b"heimdall doctor\n"
PROBE_PREFIX: Final = ".heimdall-doctor/"
#: S3 refuses signatures that are a quarter of an hour off.
MOST_SKEW_SECONDS: Final = 300.0
#: Put, get, presigned get and delete, each with its own time-out.
BUCKET_SECONDS: Final = 4 * TIMEOUT_SECONDS + 1.0

ENDPOINT: Final = "HEIMDALL_STORAGE__ENDPOINT_URL"
PUBLIC_ENDPOINT: Final = "HEIMDALL_STORAGE__PUBLIC_ENDPOINT_URL"
_KEYS: Final = "HEIMDALL_STORAGE__ACCESS_KEY_ID and HEIMDALL_STORAGE__SECRET_ACCESS_KEY"

_CREDENTIAL_CODES: Final = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "ExpiredToken",
        "AuthorizationHeaderMalformed",
    }
)


def storage_checks(settings: StorageSettings) -> list[Check]:
    """The endpoint, and each bucket."""
    buckets = {
        "HEIMDALL_STORAGE__RAW_BUCKET": settings.raw_bucket,
        "HEIMDALL_STORAGE__MODELS_BUCKET": settings.models_bucket,
    }
    return [
        Check(subject="s3", run=lambda: check_endpoint(settings)),
        *(
            Check(
                subject="bucket",
                run=partial(check_bucket, settings, bucket, setting),
                limit_seconds=BUCKET_SECONDS,
            )
            for setting, bucket in buckets.items()
        ),
    ]


def endpoint_of(settings: StorageSettings) -> str:
    """The endpoint's URL; without one it is that of AWS."""
    return settings.endpoint_url or f"https://s3.{settings.region}.amazonaws.com"


def check_endpoint(settings: StorageSettings) -> Findings:
    """Whether the endpoint answers HTTP, and how far its clock is off."""
    url = endpoint_of(settings)
    address = address_of(url, ENDPOINT)
    if address is None or not url.startswith(("http://", "https://")):
        return [broken("s3", f"{ENDPOINT} is no HTTP URL", "its form is https://HOST:PORT")]
    try:
        answer = _http_get(url)
    except httpx.HTTPError as error:
        cause = cause_of(error, address)
        return [broken("s3", cause.message, cause.remedy)]
    return [fine("s3", f"{redact(url)} answers"), *_clock(answer)]


def _clock(answer: httpx.Response) -> Findings:
    try:
        server = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return []
    skew_seconds = (server - datetime.now(UTC)).total_seconds()
    # The header has no fractions: a second is no skew.
    skew_seconds = 0.0 if abs(skew_seconds) <= 1.0 else skew_seconds
    return [check_skew("clock", "the object store", skew_seconds, MOST_SKEW_SECONDS)]


def _http_get(url: str) -> httpx.Response:
    return httpx.get(url, timeout=TIMEOUT_SECONDS, trust_env=not is_local(url))


def check_bucket(settings: StorageSettings, bucket: str, setting: str) -> Findings:
    """Puts a probe object, reads it, reads it by a presigned URL, deletes it."""
    from botocore.exceptions import BotoCoreError, ClientError

    address = address_of(endpoint_of(settings), ENDPOINT)
    if address is None:
        return []  # the endpoint's own check says so
    key = f"{PROBE_PREFIX}{uuid.uuid4()}"
    step = "put"
    client = _client(settings, settings.endpoint_url)
    try:
        client.put_object(Bucket=bucket, Key=key, Body=PROBE)
        step = "get"
        read = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        handed_out = _check_presigned(settings, bucket, key)
        step = "delete"
        client.delete_object(Bucket=bucket, Key=key)
    except ClientError as error:
        cause = _refusal(error, step=step, bucket=bucket, setting=setting)
        _clean(client, bucket, key, step)
        return [broken("bucket", cause.message, cause.remedy)]
    except BotoCoreError as error:
        cause = cause_of(error, address)
        return [broken("bucket", f"{bucket}: {cause.message}", cause.remedy)]
    if read != PROBE:
        message, remedy = f"{bucket} gives back other bytes than were put", "look at proxies before the store"
        return [broken("bucket", message, remedy), *handed_out]
    return [fine("bucket", f"{bucket}: put, get and delete work"), *handed_out]


def _clean(client: "S3Client", bucket: str, key: str, step: str) -> None:
    """Deletes the probe where it was put and a later step failed."""
    from botocore.exceptions import BotoCoreError, ClientError

    if step == "put":
        return
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except (ClientError, BotoCoreError):
        return


def _check_presigned(settings: StorageSettings, bucket: str, key: str) -> Findings:
    """Whether a presigned URL, which names the public endpoint, can be used from here."""
    endpoint = settings.public_endpoint_url or settings.endpoint_url
    setting = PUBLIC_ENDPOINT if settings.public_endpoint_url else ENDPOINT
    url = _client(settings, endpoint).generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60
    )
    shown, address = redact(url).removesuffix(f"/{key}"), address_of(url, setting)
    try:
        answer = _http_get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cause = cause_of(error, address or Address(host=str(endpoint), port=0, setting=setting))
        return [broken("presigned", f"{shown}: {cause.message}", cause.remedy)]
    if answer.content == PROBE:
        return [fine("presigned", f"{shown} serves presigned URLs")]
    remedy = (
        f"{setting} must be an address of the same store, reached without a proxy that changes host or path"
    )
    return [broken("presigned", f"{shown} answers HTTP {answer.status_code} to a presigned URL", remedy)]


def _client(settings: StorageSettings, endpoint_url: str | None) -> "S3Client":
    """A client that does not wait and does not try again."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id.get_secret_value(),
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
        config=Config(
            connect_timeout=TIMEOUT_SECONDS,
            read_timeout=TIMEOUT_SECONDS,
            retries={"total_max_attempts": 1},
            signature_version="s3v4",
            s3={"addressing_style": "path" if endpoint_url else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _refusal(error: "ClientError", *, step: str, bucket: str, setting: str) -> Cause:
    """What the store meant by refusing a step."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code == "NoSuchBucket" or (step == "put" and status == httpx.codes.NOT_FOUND):
        return Cause(f"there is no bucket {bucket}", f"create it, or correct {setting}")
    if code in _CREDENTIAL_CODES:
        return Cause(f"{bucket}: the store does not accept the credential ({code})", f"correct {_KEYS}")
    if code == "RequestTimeTooSkewed":
        return Cause(f"{bucket}: the clocks are too far apart", "synchronise both clocks (chrony)")
    if code in {"PermanentRedirect", "IllegalLocationConstraintException"}:
        return Cause(f"{bucket} lies in another region", "correct HEIMDALL_STORAGE__REGION")
    if status == httpx.codes.FORBIDDEN:
        left = f"; the probe in {PROBE_PREFIX} is left behind" if step == "delete" else ""
        action = {"put": "s3:PutObject", "get": "s3:GetObject", "delete": "s3:DeleteObject"}[step]
        return Cause(
            f"{bucket}: the credential may not {step} objects ({code or status}){left}",
            f"allow it {action} on arn:aws:s3:::{bucket}/*",
        )
    return Cause(
        f"{bucket}: the store refuses to {step} an object ({code or status})", "look at the store's log"
    )
