"""docs/recordings.md: its examples are imported as they stand, its table of refusals is complete."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heimdall_core.catalogue import uploads
from heimdall_core.catalogue.import_reading import UploadedFile, UploadReader
from heimdall_core.catalogue.platform_matching import FREQUENCY_TOLERANCE_HZ
from heimdall_core.catalogue.platform_reading import MAX_OBJECT_BYTES
from heimdall_core.catalogue.receiver_places import MOVED_M
from heimdall_core.cli.uploading import find_files
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.fields import MAX_DESCRIPTION_BYTES
from heimdall_core.recordings.files import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_MEMBERS
from heimdall_core.recordings.refusal import RefusedFile
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.storage.folder import FolderStore

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/recordings.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, flags=re.M | re.S))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", flags=re.M | re.S)
FORMS = {title: text for title, text in SECTIONS.items() if re.search(r"^```(json|csv)", text, flags=re.M)}
RECEIVERS = {
    "SigMF collection": [["Torino", "Genova"]],
    "Single recordings": [["Torino"]],
    "Recording sheet with SigMF from SDR software": [["Torino"]],
    "Recording sheet with .npy files": [["Torino", "Genova"]],
    "Power table": [["north"], ["north", "south"]],
}

RAISED = re.compile(r'(?:Refusal|RefusedFile|CsvError|\.error)\(\s*"([a-z_0-9]+)"|code="([a-z_0-9]+)"')

REFUSED = re.compile(r'Refusal\(\s*"([a-z_0-9]+)"|RefusedFile\([^)]*code="([a-z_0-9]+)"')
"""What is refused of the platform; the other codes there are answers of the API."""


def import_folder(folder: Path, store: Path) -> list[RecordedSession | RefusedFile]:
    """What the command finds in the folder, as the import reads it."""
    objects = FolderStore(store)
    files = []
    for number, local in enumerate(find_files([folder])):
        data = local.path.read_bytes()
        objects.put_bytes(f"s3://raw/{number}", data)
        files.append(UploadedFile(name=local.name, uri=f"s3://raw/{number}", num_bytes=len(data)))
    with ThreadPoolExecutor(4) as pool:
        reader = UploadReader(store=objects, pool=pool, settings=FeatureSettings(), receivers=None)
        return [found.outcome for part in reader.parts(files) for found in part.read()]


@pytest.mark.parametrize("title", RECEIVERS)
def test_each_example_is_imported_as_it_stands(title, tmp_path, monkeypatch):
    folder = tmp_path / "example"
    folder.mkdir()
    monkeypatch.chdir(folder)
    scope: dict[str, object] = {}
    for language, name, text in BLOCK.findall(FORMS[title]):
        if name:
            (folder / name).write_text(text)
        elif language == "python":
            exec(compile(text, title, "exec"), scope)
    outcomes = import_folder(folder, tmp_path / "store")
    assert not [o for o in outcomes if isinstance(o, RefusedFile)]
    assert [[r.receiver.name for r in s.recordings] for s in outcomes] == RECEIVERS[title]  # type: ignore[union-attr]
    assert all(pack_session(session).data for session in outcomes)  # type: ignore[arg-type]


def test_every_form_of_the_guide_is_tried():
    assert set(FORMS) == set(RECEIVERS)


def test_every_code_that_the_source_can_refuse_with_is_explained_and_no_other():
    sources = [*(ROOT / "heimdall_core/recordings").glob("*.py")]
    catalogue = ROOT / "heimdall_core/catalogue"
    sources += [catalogue / "import_reading.py", catalogue / "receiver_places.py"]
    raised = {a or b for path in sources for a, b in RAISED.findall(path.read_text())}
    explained = explained_in("What may be refused, and what to do")
    assert set(explained) == raised
    assert explained == sorted(explained)


def test_every_code_that_a_takeover_can_refuse_with_is_explained_and_no_other():
    sources = (ROOT / "heimdall_core/catalogue").glob("platform*.py")
    raised = {a or b for path in sources for a, b in REFUSED.findall(path.read_text())}
    assert {"ambiguous_session", "foreign_location", "measurement_changed", "session_failed"} <= raised
    explained = explained_in("Sessions of the platform")
    assert set(explained) == raised
    assert explained == sorted(explained)


def explained_in(section: str) -> list[str]:
    return re.findall(r"^\| `([a-z_0-9]+)` \| [^|]+ \| [^|]+ \|$", SECTIONS[section], flags=re.M)


def test_the_limits_are_those_of_the_source():
    assert uploads.MAX_FILE_BYTES == MAX_ARCHIVE_BYTES
    assert MAX_OBJECT_BYTES == 256 * 2**20
    assert FREQUENCY_TOLERANCE_HZ == 500
    assert MOVED_M == 100
    assert MAX_ARCHIVE_BYTES == 2 * 2**30
    assert MAX_DESCRIPTION_BYTES == 16 * 2**20
    assert (MAX_ARCHIVE_MEMBERS, uploads.MAX_FILES, uploads.MAX_NAME_CHARS) == (10_000, 50_000, 255)
