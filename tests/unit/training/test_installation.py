"""What is installed is told by digests: every changed file changes one, and names its part."""

from pathlib import Path

import pytest

from heimdall_core.training.installation import (
    changed_parts,
    describe_code,
    git_commit,
    installed_sha256,
    source_digests,
)


def package(root: Path) -> Path:
    for name in ("alone.py", "networks/levels.py", "networks/deep/stem.py", "networks/notes.txt"):
        path = root / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root / "package"


def test_a_changed_a_new_and_a_renamed_file_change_the_digest_of_their_part_alone(tmp_path: Path) -> None:
    folder = package(tmp_path)
    before = source_digests(folder)
    assert sorted(before) == ["alone", "networks"]
    (folder / "networks" / "notes.txt").write_text("no code")
    assert source_digests(folder) == before
    (folder / "networks" / "deep" / "stem.py").rename(folder / "networks" / "deep" / "trunk.py")
    assert changed_parts(before, source_digests(folder)) == ["networks"]
    (folder / "new.py").write_text("")
    assert changed_parts(before, source_digests(folder)) == ["networks", "new"]


def test_the_commit_of_a_checkout_is_found_loose_packed_and_detached(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    assert git_commit(tmp_path) is None
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert git_commit(tmp_path) is None
    (git / "packed-refs").write_text("# pack-refs with: peeled\n" + "a" * 40 + " refs/heads/main\n")
    assert git_commit(tmp_path) == "a" * 40
    (git / "refs" / "heads" / "main").write_text("b" * 40 + "\n")
    assert git_commit(tmp_path) == "b" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert git_commit(tmp_path) == "c" * 40


def test_this_program_says_its_version_and_source() -> None:
    code = describe_code()
    assert code["version"]
    assert {"networks", "features", "training"} <= code["parts"].keys()
    assert len(code["source_sha256"]) == 64


def test_the_working_directory_changes_nothing_of_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "heimdall_training.egg-info").mkdir()
    before = installed_sha256.__wrapped__()
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_sha256.__wrapped__() == before
    (tmp_path / "another-1.0.dist-info").mkdir()
    assert installed_sha256.__wrapped__() != before
