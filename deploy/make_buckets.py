# ruff: noqa: INP001 - scripts of the images, no package
"""``python make_buckets.py BUCKET ...``: creates the buckets that are absent; any number of runs do no harm.

Reads ``HEIMDALL_STORAGE__*`` and works with whatever speaks S3. Waits for a store that is not up yet.
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from heimdall_core.settings import StorageSettings, load_settings

PATIENCE_SECONDS = 60.0
_RETRY_SECONDS = 2.0


def make_buckets(settings: StorageSettings, buckets: list[str]) -> None:
    """Creates those that do not answer.

    Raises:
        ClientError: the store refuses, for one because the credentials are wrong.
    """
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id.get_secret_value(),
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
        config=Config(connect_timeout=3, read_timeout=10, s3={"addressing_style": "path"}),
    )
    for bucket in buckets:
        try:
            client.head_bucket(Bucket=bucket)
            sys.stdout.write(f"{bucket} exists\n")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:  # noqa: PLR2004 - not found
                raise
            client.create_bucket(Bucket=bucket)
            sys.stdout.write(f"{bucket} created\n")


def main(buckets: list[str]) -> None:
    """Tries until the store answers, or says why it does not."""
    settings, deadline = load_settings().storage, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return make_buckets(settings, buckets)
        except ClientError as error:
            sys.exit(f"{settings.endpoint_url} refuses: {error}")
        except BotoCoreError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{settings.endpoint_url} does not answer: {error}")
            time.sleep(_RETRY_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
