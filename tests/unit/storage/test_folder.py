"""The folder that behaves like the object store."""

from pathlib import Path

import pytest

from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.storage import FolderStore, join_uri, split_uri


def test_a_uri_is_taken_apart_and_joined() -> None:
    assert split_uri("s3://bucket/a/b.c") == ("bucket", "a/b.c")
    assert join_uri("s3://bucket/a/", "/b", "c.d") == "s3://bucket/a/b/c.d"


@pytest.mark.parametrize(
    "uri", ["bucket/key", "s3://bucket", "s3://bucket/", "s3:///key", "s3://b/../../etc/passwd"]
)
def test_what_is_no_uri_is_refused(uri: str) -> None:
    with pytest.raises(DataError):
        split_uri(uri)


def test_a_missing_object_is_not_found_and_leaves_no_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    with pytest.raises(NotFound):
        store.get_bytes("s3://b/none")
    with pytest.raises(NotFound):
        store.get_file("s3://b/none", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_nothing_outside_of_the_folder_is_reached(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "root")
    (tmp_path / "outside").write_text("hidden")
    (tmp_path / "root").mkdir()
    with pytest.raises(NotFound):
        store.get_bytes(f"s3://b/{tmp_path}/outside")
    with pytest.raises(DataError, match="leads out"):
        store.get_bytes("s3://../outside")
    store.put_bytes(f"s3://b/{tmp_path}/made", b"1")
    assert not (tmp_path / "made").exists()
    with pytest.raises(DataError, match="leads out"):
        store.put_bytes("s3://../made", b"1")


def test_ranges_and_files(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    stored = store.put_bytes("s3://b/k", b"0123456789")
    assert stored.num_bytes == 10
    assert store.get_bytes("s3://b/k", offset=2, num_bytes=3) == b"234"
    store.get_file("s3://b/k", tmp_path / "copy")
    assert store.put_file("s3://b/copy", tmp_path / "copy").sha256 == stored.sha256


def test_objects_are_listed_by_prefix_and_deleted_one_by_one(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    for key in ("a1/x", "a1/sub/y", "a10/z"):
        store.put_bytes(f"s3://b/{key}", b"12")
    assert store.list_sizes("s3://b/a1/") == {"s3://b/a1/x": 2, "s3://b/a1/sub/y": 2}
    assert set(store.list_sizes("s3://b/a1")) == {f"s3://b/{key}" for key in ("a1/x", "a1/sub/y", "a10/z")}
    store.delete("s3://b/a1/x")
    store.delete_all(["s3://b/a1/x", "s3://b/a10/z"])
    assert store.list_sizes("s3://b/a10/") == {}
    assert store.list_sizes("s3://b/a1/") == {"s3://b/a1/sub/y": 2}
    assert store.list_sizes("s3://b/none/") == {}
