"""The object store: S3 through boto3, and a folder for tests and runs without a service."""

from heimdall_core.storage.folder import FolderStore
from heimdall_core.storage.s3 import S3Store
from heimdall_core.storage.uri import join_uri, split_uri

__all__ = ["FolderStore", "S3Store", "join_uri", "split_uri"]
