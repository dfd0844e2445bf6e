"""A job's files over HTTP: with their digests, presigned for everybody, and in part for who has a key."""

import hashlib

import httpx
import pytest
from sqlalchemy import insert

from heimdall_core.database.job_tables import Artifact
from heimdall_core.storage import S3Store

DATA = bytes(range(256)) * 8
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def base(client):
    """The path of a job that handed out one file."""
    job_id = client.import_sessions(range(2))
    stored = client.store.put_bytes(f"s3://heimdall-models/jobs/{job_id}/a1/model.onnx", DATA)
    row = {"id": "art_1", "job_id": job_id, "attempt": 1, "name": "model.onnx", "kind": "onnx"}
    facts = {"sha256": stored.sha256, "num_bytes": stored.num_bytes, "media_type": "application/octet-stream"}
    with client.database.transaction() as session:
        session.execute(insert(Artifact).values(uri=stored.uri, **facts, **row))
    return f"/v1/jobs/{job_id}/artifacts"


def test_a_listed_file_has_digest_size_and_both_ways_to_fetch_it(client, base, settings):
    file = next(f for f in client.get(base).json()["data"] if f["name"] == "model.onnx")
    assert (file["sha256"], file["bytes"]) == (SHA256, len(DATA))
    assert file["content_url"] == f"{base}/model.onnx"
    assert httpx.get(file["download_url"], trust_env=False).content == DATA
    public = settings.storage.model_copy(update={"public_endpoint_url": "https://s3.example.org"})
    assert S3Store(public).presign_get(file["uri"]).startswith("https://s3.example.org/heimdall-models/jobs/")


def test_a_file_comes_in_part_from_the_real_store(client, base):
    whole = client.get(f"{base}/model.onnx")
    assert (whole.status_code, whole.content, whole.headers["ETag"]) == (200, DATA, f'"{SHA256}"')
    part = client.get(
        f"{base}/model.onnx", headers={"Range": "bytes=250-", "If-Range": whole.headers["ETag"]}
    )
    assert (part.status_code, part.content) == (206, DATA[250:])
    assert part.headers["Content-Range"] == "bytes 250-2047/2048"
    head = client.head(f"{base}/model.onnx")
    assert (head.status_code, head.headers["Content-Length"]) == (200, "2048")


def test_a_name_that_the_job_has_not_and_a_file_that_is_gone_are_told_apart(client, base):
    assert client.get(f"{base}/moon.onnx").json()["code"] == "artifact_not_found"
    file = next(f for f in client.get(base).json()["data"] if f["name"] == "model.onnx")
    client.store.delete(file["uri"])
    gone = client.get(f"{base}/model.onnx")
    assert (gone.status_code, gone.json()["code"]) == (404, "artifact_gone")


def test_another_owners_file_is_not_to_be_seen(client, base):
    stranger = client.make_key("jobs:read", owner="mallory")
    answer = client.get(f"{base}/model.onnx", headers=stranger)
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
