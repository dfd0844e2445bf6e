"""The recordings of a folder, wherever the run writes."""

from pathlib import Path

import pytest

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.local.recordings import find_recordings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings with the output of a former run among them."""
    for name in ("recs/a.sigmf", "recs/out/recordings/ab/abc.sigmf", "recs/recordings/cd/cde.sigmf"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(found: list[Path]) -> list[str]:
    return [path.name for path in found]


def test_an_output_folder_among_the_recordings_is_not_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = find_recordings(Path("recs"), outside=(folder / "recs" / "out"))
    assert names(found) == ["a.sigmf", "cde.sigmf"]


def test_an_output_folder_around_the_recordings_hides_none(folder: Path) -> None:
    assert len(find_recordings(folder / "recs", outside=folder)) == 3


def test_one_folder_for_both_leaves_out_what_a_run_makes(folder: Path) -> None:
    found = find_recordings(folder / "recs", outside=folder / "recs")
    assert names(found) == ["a.sigmf", "abc.sigmf"]


def test_a_folder_that_only_looks_like_a_recording_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.sigmf").mkdir()
    with pytest.raises(InvalidRequest, match="holds no recording"):
        find_recordings(tmp_path, outside=tmp_path / "out")


def test_one_folder_for_both_hides_none_of_the_folders_that_a_person_made(tmp_path: Path) -> None:
    for name in ("work", "report", "checkpoints"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.sigmf").touch()
    assert len(find_recordings(tmp_path, outside=tmp_path)) == 3
