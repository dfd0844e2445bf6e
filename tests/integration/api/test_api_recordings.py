"""Uploads, receivers, sessions and datasets over HTTP, on real engines."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from heimdall_core.database.platform_tables import Measurement
from heimdall_core.domain.manifest import Manifest


def names(problem):
    return {entry["pointer"] for entry in problem["errors"]}


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../b", "a//b", "a\\b", "a\nb", "", ".", "x" * 256]
)
def test_a_name_that_is_no_plain_relative_path_is_refused(client, name):
    response = client.post("/v1/uploads", json={"files": [{"name": name, "size": 1}]})
    assert response.status_code == 422
    assert names(response.json()) == {"#/files/0/name"}


@pytest.mark.parametrize(
    ("file", "pointer"),
    [
        ({"name": "a", "size": -1}, "#/files/0/size"),
        ({"name": "a", "size": 2 * 1024**3 + 1}, "#/files/0/size"),
        ({"name": "a", "size": 1, "sha256": "zz"}, "#/files/0/sha256"),
        ({"name": "a", "size": 1, "mode": 7}, "#/files/0/mode"),
    ],
)
def test_a_file_that_cannot_be_uploaded_is_named(client, file, pointer):
    response = client.post("/v1/uploads", json={"files": [file]})
    assert response.status_code == 422
    assert names(response.json()) == {pointer}


def test_a_name_comes_once(client):
    response = client.post("/v1/uploads", json={"files": [{"name": "a", "size": 1}] * 2})
    assert names(response.json()) == {"#/files/0/name", "#/files/1/name"}


def test_an_upload_hands_out_urls_that_take_the_files(client):
    response = client.post("/v1/uploads", json={"files": [{"name": "a/ b?.sigmf", "size": 3}]})
    assert response.status_code == 201
    upload = response.json()
    (target,) = upload["files"]
    assert target["method"] == "PUT"
    answer = httpx.put(target["url"], content=b"abc", headers=target["headers"], trust_env=False)
    assert answer.is_success
    again = client.get(response.headers["location"]).json()
    assert again["files"][0]["name"] == "a/ b?.sigmf"
    assert again["job_id"] is None


def test_an_upload_is_completed_once(client, hints):
    upload = client.post("/v1/uploads", json={"files": [{"name": "a", "size": 3}]}).json()
    job = client.post(f"/v1/uploads/{upload['id']}:complete")
    assert job.status_code == 202
    assert job.json()["kind"] == "import"
    assert hints.num_hints == 1
    again = client.post(f"/v1/uploads/{upload['id']}:complete")
    assert again.status_code == 409
    assert again.json()["code"] == "upload_already_complete"
    assert job.json()["id"] in again.json()["hint"]
    done = client.get(f"/v1/uploads/{upload['id']}").json()
    assert (done["job_id"], done["files"]) == (job.json()["id"], [])


def announce(client, *names, **facts):
    files = [{"name": name, "size": 3, **facts} for name in names]
    return client.post("/v1/uploads", json={"files": files}).json()


def test_an_open_upload_tells_which_files_have_arrived_whole(client):
    upload = announce(client, "a", "b", "c")
    assert [file["received"] for file in upload["files"]] == [False] * 3
    httpx.put(upload["files"][0]["url"], content=b"abc", trust_env=False).raise_for_status()
    httpx.put(upload["files"][1]["url"], content=b"ab", trust_env=False).raise_for_status()
    now = client.get(f"/v1/uploads/{upload['id']}").json()
    assert [(f["name"], f["size"], f["received"]) for f in now["files"]] == [
        ("a", 3, True),
        ("b", 3, False),
        ("c", 3, False),
    ]
    assert (now["num_received"], now["num_files"]) == (1, 3)


def test_thousands_of_files_are_listed_and_not_asked_for_one_by_one(client):
    upload = announce(client, *(f"{number}.npy" for number in range(1200)))
    prefix = f"s3://{client.settings.storage.raw_bucket}/uploads/{upload['id']}"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: client.store.put_bytes(f"{prefix}/{n}/{n}.npy", b"abc"), range(1100)))
    now = client.get(f"/v1/uploads/{upload['id']}").json()
    assert now["num_received"] == 1100
    assert [f["name"] for f in now["files"] if not f["received"]] == [f"{n}.npy" for n in range(1100, 1200)]


def test_a_checksum_that_was_known_late_is_checked_by_the_import(client):
    upload = announce(client, "a.sigmf", "b.sigmf")
    for target in upload["files"]:
        httpx.put(target["url"], content=b"abc", trust_env=False).raise_for_status()
    stated = [{"name": "a.sigmf", "sha256": "0" * 64}]
    job = client.post(f"/v1/uploads/{upload['id']}:complete", json={"files": stated}).json()
    result = client.work(job["id"])
    assert {(r["name"], r["code"]) for r in result["refused"]} == {
        ("a.sigmf", "sha256_mismatch"),
        ("b.sigmf", "not_sigmf"),
    }


@pytest.mark.parametrize(
    ("stated", "pointers"),
    [
        ([{"name": "c", "sha256": "0" * 64}], {"#/files/0/name"}),
        ([{"name": "a", "sha256": "1" * 64}] * 2, {"#/files/0/name", "#/files/1/name"}),
        ([{"name": "b", "sha256": "1" * 64}, {"name": "a", "sha256": "x"}], {"#/files/1/sha256"}),
        ([{"name": "a", "sha256": "2" * 64}], {"#/files/0/sha256"}),
        ([{"name": "a"}], {"#/files/0/sha256"}),
    ],
)
def test_a_checksum_that_cannot_be_right_is_refused_and_the_upload_stays_open(client, stated, pointers):
    upload = announce(client, "a", "b", sha256="1" * 64)
    response = client.post(f"/v1/uploads/{upload['id']}:complete", json={"files": stated})
    assert response.status_code == 422
    assert names(response.json()) == pointers
    assert client.get(f"/v1/uploads/{upload['id']}").json()["completed_at"] is None


def test_the_job_keeps_the_first_refusals_and_its_artifact_has_a_line_for_every_file(client):
    client.import_sessions([0])
    archive = client.archive_of(0)
    upload = announce(client, *(f"{number}.txt" for number in range(1100)))
    job = client.post(f"/v1/uploads/{upload['id']}:complete").json()
    result = client.work(job["id"])
    assert (len(result["refused"]), result["refused_count"]) == (1000, 1100)
    assert [warning["code"] for warning in result["warnings"]] == ["refusals_truncated"]
    assert len(client.report["files"]) == client.report["counts"]["files"] == 1100
    files = [{"name": name, "size": len(archive)} for name in ("a.sigmf", "b.sigmf")]
    upload = client.post("/v1/uploads", json={"files": files}).json()
    for target in upload["files"]:
        httpx.put(target["url"], content=archive, trust_env=False).raise_for_status()
    job = client.post(f"/v1/uploads/{upload['id']}:complete").json()
    result = client.work(job["id"])
    assert [known["file"] for known in result["known"]] == ["a.sigmf"]
    (session,) = client.get("/v1/recording-sessions").json()["data"]
    assert result["known"][0]["session_id"] == session["id"]
    assert [(line["file"], line["status"], line.get("same_as")) for line in client.report["files"]] == [
        ("a.sigmf", "accepted", None),
        ("b.sigmf", "duplicate", "a.sigmf"),
    ]


def test_sessions_are_listed_by_source_and_time(client):
    client.import_sessions(range(4))

    def listed(**params):
        page = client.get("/v1/recording-sessions", params=params).json()
        return {session["name"] for session in page["data"]}

    assert listed(source="beacon-2") == {"session-2"}
    assert listed(started_after="2025-05-01T12:01:00Z", started_before="2025-05-01T12:03:00") == {
        "session-1",
        "session-2",
    }
    assert listed(source="nobody") == set()


def test_another_owners_upload_is_not_found(client):
    upload = client.post("/v1/uploads", json={"files": [{"name": "a", "size": 3}]}).json()
    bob = client.make_key("recordings:read", "recordings:write")
    assert client.get(f"/v1/uploads/{upload['id']}", headers=bob).status_code == 404
    assert client.post(f"/v1/uploads/{upload['id']}:complete", headers=bob).status_code == 404


def test_an_import_of_an_upload_that_is_not_complete_is_refused(client):
    upload = client.post("/v1/uploads", json={"files": [{"name": "a", "size": 3}]}).json()
    response = client.post("/v1/jobs", json={"kind": "import", "upload_id": upload["id"]})
    assert response.status_code == 409


def test_a_receiver_is_added_once(client):
    body = {"name": "turin", "latitude": 45.0, "longitude": 7.7, "altitude_m": 240}
    created = client.post("/v1/receivers", json=body)
    assert created.status_code == 201
    assert client.post("/v1/receivers", json=body).json()["code"] == "receiver_exists"
    (listed,) = client.get("/v1/receivers").json()["data"]
    assert listed == created.json()
    response = client.post("/v1/receivers", json=body | {"name": "pole", "latitude": 91})
    assert names(response.json()) == {"#/latitude"}


def test_imported_sessions_wait_for_approval(client):
    job_id = client.import_sessions(range(3))
    assert client.result["accepted"] == 3
    page = client.get("/v1/recording-sessions", params={"approval_status": "pending", "limit": 2}).json()
    assert page["has_more"]
    assert page["data"][0]["num_recordings"] == 3
    rest = client.get("/v1/recording-sessions", params={"cursor": page["next_cursor"]}).json()
    assert len({s["id"] for s in page["data"] + rest["data"]}) == 3
    refused = client.post("/v1/datasets", json={"name": "early"})
    assert refused.status_code == 422
    assert refused.json()["code"] == "no_approved_sessions"
    approve = client.post("/v1/recording-sessions:approve", json={"import_job_id": job_id})
    assert approve.json() == {"approved": 3}
    assert client.post("/v1/recording-sessions:approve", json={"import_job_id": job_id}).json() == {
        "approved": 0
    }


def test_a_rejected_session_stays_rejected_when_its_import_is_approved(client):
    job_id = client.import_sessions(range(2))
    sessions = client.get("/v1/recording-sessions").json()["data"]
    path = f"/v1/recording-sessions/{sessions[0]['id']}"
    assert client.patch(path, json={"approval_status": "rejected"}).json()["approval_status"] == "rejected"
    assert client.post("/v1/recording-sessions:approve", json={"import_job_id": job_id}).json() == {
        "approved": 1
    }
    assert client.get(path).json()["approval_status"] == "rejected"
    by_id = client.post("/v1/recording-sessions:approve", json={"ids": [sessions[0]["id"]]})
    assert by_id.json() == {"approved": 1}


def test_a_session_shows_ranges_that_hold_its_recordings(client):
    client.import_sessions([4])
    (listed,) = client.get("/v1/recording-sessions").json()["data"]
    detail = client.get(f"/v1/recording-sessions/{listed['id']}").json()
    assert detail["source"]["name"] == "beacon-4"
    assert [r["receiver"] for r in detail["recordings"]] == ["aosta", "genoa", "turin"]
    archive = httpx.get(detail["archive"]["download_url"], trust_env=False).content
    assert hashlib.sha256(archive).hexdigest() == detail["archive"]["sha256"]
    for recording in detail["recordings"]:
        last = recording["offset"] + recording["num_bytes"] - 1
        ranged = httpx.get(
            recording["download_url"],
            headers={"Range": f"bytes={recording['offset']}-{last}"},
            trust_env=False,
        ).content
        assert hashlib.sha256(ranged).hexdigest() == recording["sha256"]
        piece = archive[recording["offset"] : recording["offset"] + recording["num_bytes"]]
        assert hashlib.sha256(piece).hexdigest() == recording["sha256"]


@pytest.mark.parametrize(
    "location", ["s3://heimdall-models/registry/m.onnx", "s3://", "s3:///x", "../x", "http://store/x", ""]
)
def test_no_object_outside_the_bucket_of_recordings_is_handed_out(client, database, location):
    client.import_sessions([4])
    (listed,) = client.get("/v1/recording-sessions").json()["data"]
    with database.transaction() as session:
        session.execute(
            update(Measurement)
            .where(Measurement.recording_session_id == UUID(listed["id"]))
            .values(iq_data_location=location)
        )
    answer = client.get(f"/v1/recording-sessions/{listed['id']}")
    assert answer.status_code == 200
    assert {recording["download_url"] for recording in answer.json()["recordings"]} == {None}


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({}, 422, "#/import_job_id"),
        ({"import_job_id": "job_x", "ids": ["0" * 32]}, 422, "#/import_job_id"),
        ({"import_job_id": "job_x"}, 404, "#/import_job_id"),
        ({"ids": ["00000000000000000000000000000000"]}, 404, "#/ids/0"),
        ({"ids": ["nonsense"]}, 422, "#/ids/0"),
    ],
)
def test_an_approval_of_nothing_is_told(client, body, status, pointer):
    response = client.post("/v1/recording-sessions:approve", json=body)
    assert response.status_code == status
    assert names(response.json()) == {pointer}


def test_unknown_sessions_are_not_found(client):
    path = "/v1/recording-sessions/00000000-0000-0000-0000-000000000000"
    assert client.get(path).status_code == 404
    assert client.patch(path, json={"approval_status": "approved"}).status_code == 404
    assert client.get("/v1/recording-sessions/nonsense").status_code == 404
    assert client.patch(path, json={"approval_status": "maybe"}).status_code == 422


def test_an_import_brings_its_sessions_even_those_that_were_known(client):
    client.import_sessions(range(2))
    again = client.import_sessions(range(3))
    assert client.result["accepted"] == 1
    assert client.result["duplicates"] == 2
    assert len(client.get("/v1/recording-sessions").json()["data"]) == 3
    brought = client.get("/v1/recording-sessions", params={"import_job_id": again}).json()["data"]
    assert len(brought) == 3


def test_a_frozen_dataset_is_the_manifest_that_it_says(client, dataset):
    assert dataset["created"] is True
    assert dataset["version"] == 1
    assert [r["name"] for r in dataset["receivers"]] == ["aosta", "genoa", "turin"]
    data = httpx.get(dataset["manifest"]["download_url"], trust_env=False).content
    assert hashlib.sha256(data).hexdigest() == dataset["manifest"]["sha256"]
    manifest = Manifest.from_dict(json.loads(data))
    assert manifest.digest() == dataset["digest"]
    counts = {split: len(manifest.of_split(split)) for split in ("train", "val", "test")}
    assert counts == {split: dataset["counts"][split] for split in counts}
    assert sum(counts.values()) == 12
    assert all(counts.values())
    splits_of = {}
    for session in manifest.sessions:
        splits_of.setdefault(session.block, set()).add(session.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    recording = manifest.sessions[0].recordings[0]
    piece = client.store.get_bytes(recording.uri, offset=recording.offset, num_bytes=recording.num_bytes)
    assert hashlib.sha256(piece).hexdigest() == recording.sha256


def test_the_same_content_is_the_same_version(client, dataset):
    again = client.post("/v1/datasets", json={"name": "northwest"})
    assert again.status_code == 200
    assert again.json()["created"] is False
    assert again.json()["version"] == 1
    other = client.post("/v1/datasets", json={"name": "northwest", "split": {"seed": 5}})
    assert other.status_code == 201
    assert other.json()["version"] == 2
    versions = client.get("/v1/datasets/northwest/versions").json()["data"]
    assert [v["version"] for v in versions] == [2, 1]
    assert client.get("/v1/datasets/northwest").json()["version"] == 2
    assert client.get("/v1/datasets/northwest/versions/1").json()["digest"] == dataset["digest"]
    listed = client.get("/v1/datasets").json()["data"]
    assert [(d["name"], d["version"]) for d in listed] == [("northwest", 2)]


def test_lists_leave_out_what_grows_with_the_sessions(client, dataset):
    long = {"places": None, "heard_together": None}
    one = client.get("/v1/datasets/northwest/versions/1").json()
    assert sum(place["sessions"] for place in one["statistics"]["places"]) == 12
    assert len(one["statistics"]["heard_together"]) == 3
    assert client.get("/v1/datasets/northwest").json()["statistics"] == one["statistics"]
    for path in ("/v1/datasets", "/v1/datasets/northwest/versions"):
        (listed,) = client.get(path).json()["data"]
        unpresigned = {"manifest": one["manifest"]}
        assert listed | unpresigned == one | {"statistics": one["statistics"] | long}


def test_a_query_restricts_the_sessions(client):
    first = client.import_sessions(range(6), auto_approve=True)
    client.import_sessions(range(6, 12), auto_approve=True)
    body = {"name": "half", "query": {"import_job_ids": [first]}, "split": {"strategy": "source"}}
    counts = client.post("/v1/datasets", json=body).json()["counts"]
    assert counts["train"] + counts["val"] + counts["test"] == 6
    ids = [s["id"] for s in client.get("/v1/recording-sessions").json()["data"]][:4]
    body = {"name": "few", "query": {"session_ids": ids}, "split": {"strategy": "source"}}
    assert client.post("/v1/datasets", json=body).json()["counts"]["units"] == 4


@pytest.mark.parametrize(
    ("split", "pointer"),
    [
        ({"block_km": 10_000}, "#/split"),
        ({"strategy": "group"}, "#/split/strategy"),
        ({"test_groups": ["nowhere"]}, "#/split/test_groups"),
        ({"test_fraction": 0}, "#/split/test_fraction"),
        ({"strategy": "random"}, "#/split/strategy"),
    ],
)
def test_a_split_that_cannot_be_is_told_with_its_field(client, split, pointer):
    client.import_sessions(range(6), auto_approve=True)
    response = client.post("/v1/datasets", json={"name": "odd", "split": split})
    assert response.status_code == 422
    assert names(response.json()) == {pointer}


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "-a", "a b"])
def test_a_dataset_name_must_fit_into_a_path(client, name):
    response = client.post("/v1/datasets", json={"name": name})
    assert response.status_code == 422
    assert names(response.json()) == {"#/name"}


def test_unknown_datasets_and_models_are_not_found(client, dataset):
    for path in (
        "/v1/datasets/other",
        "/v1/datasets/other/versions",
        "/v1/datasets/northwest/versions/9",
        "/v1/datasets/northwest/versions/latest",
        "/v1/models/other",
        "/v1/models/other/versions",
        "/v1/models/other/versions/1",
    ):
        assert client.get(path).status_code == 404, path


def test_sessions_are_rejected_together_and_named_if_there_is_none(client):
    job_id = client.import_sessions(range(3))
    sessions = client.get("/v1/recording-sessions").json()["data"]
    unknown = {"ids": [sessions[0]["id"], "00000000-0000-0000-0000-000000000000"]}
    assert names(client.post("/v1/recording-sessions:reject", json=unknown).json()) == {"#/ids/1"}
    assert client.get("/v1/recording-sessions?approval_status=rejected").json()["data"] == []
    one = {"ids": [sessions[0]["id"]]}
    assert client.post("/v1/recording-sessions:reject", json=one).json() == {"rejected": 1}
    rest = client.post("/v1/recording-sessions:reject", json={"import_job_id": job_id})
    assert rest.json() == {"rejected": 2}


def test_what_needs_a_look_is_flagged_and_the_list_can_be_narrowed_to_it(client, database):
    client.import_sessions(range(4))
    sessions = client.get("/v1/recording-sessions").json()["data"]
    ids = [UUID(session["id"]) for session in sessions]
    with database.transaction() as session:

        def change(place, *, receivers=3, **values):
            of_session = Measurement.recording_session_id == ids[place]
            chosen = select(Measurement.id).where(of_session).limit(receivers)
            session.execute(update(Measurement).where(Measurement.id.in_(chosen)).values(**values))

        for place in range(4):
            change(place, snr_db=20.0)
        change(0, snr_db=5.0)
        change(1, receivers=1, iq_sha256=None)
        change(1, snr_db=float("nan"))
        change(2, iq_sha256=None)
    expected = [["weak_signal"], ["few_receivers", "unknown_snr"], ["no_recordings"], []]
    found = {s["id"]: s["flags"] for s in client.get("/v1/recording-sessions").json()["data"]}
    assert [found[str(identifier)] for identifier in ids] == expected
    for flag in ("weak_signal", "few_receivers", "no_recordings", "unknown_snr", "incomplete_source"):
        listed = client.get("/v1/recording-sessions", params={"flag": flag}).json()["data"]
        assert {s["id"] for s in listed} == {i for i, flags in found.items() if flag in flags}
    refused = client.get("/v1/recording-sessions", params={"flag": "ugly"})
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "flag")
