"""``heimdall predict``: where a registered model believes a transmitter to be."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.completion import session_ids
from heimdall_core.cli.models_commands import ModelArgument, download_checked, find_version
from heimdall_core.cli.output import console, say, show_json
from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.embedded.home import default_home

if TYPE_CHECKING:
    from heimdall_core.recordings.session import RecordedSession

METRES_PER_KM = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A prediction, beside the truth where that is known."""

    session: str
    model: str
    latitude: float
    longitude: float
    sigma_east_m: float
    sigma_north_m: float
    true_latitude: float | None
    true_longitude: float | None
    error_m: float | None
    receivers: int

    def line(self) -> str:
        """The prediction for people."""
        sigma_east_km, sigma_north_km = self.sigma_east_m / METRES_PER_KM, self.sigma_north_m / METRES_PER_KM
        found = (
            f"{self.session} heard by {self.receivers} receivers: {self.latitude:.4f}, {self.longitude:.4f} "
            f"± {sigma_east_km:.2f} km east, {sigma_north_km:.2f} km north"
        )
        if self.error_m is None:
            return found
        truth = f"it was at {self.true_latitude:.4f}, {self.true_longitude:.4f}"
        return f"{found}; {truth}: error {self.error_m / METRES_PER_KM:.2f} km"


def predict(
    model: ModelArgument,
    recording: Annotated[
        str,
        typer.Argument(
            help="Id of a recording session; or a .sigmf archive or a folder of SigMF files, "
            "whose transmitter need not be known.",
            autocompletion=session_ids,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Locates a transmitter, known or not, with a registered model."""
    cache = default_home() / "cache"
    with connect() as client:
        version = find_version(client, model)
        archive = local_archive(recording) or fetch_archive(client, recording, cache)
        found = [locate(version, session, cache) for session in read_archive(archive)]
    if as_json:
        show_json([asdict(located) for located in found])
        return
    for located in found:
        console.print(located.line(), markup=False)


def local_archive(recording: str) -> Path | None:
    """The file or folder that is meant, or None where it is the id of a session."""
    path = Path(recording)
    if not path.exists() and (path.suffix == ".sigmf" or len(path.parts) > 1):
        raise InvalidRequest(f"{recording} does not exist")
    return path if path.exists() else None


def predict_held_out(client: ApiClient, job: Json, dataset: Json, *, cache: Path) -> None:
    """Predicts for the first session of the test split, and says how to do so oneself."""
    model = (job.get("result") or {}).get("model")
    if not model:
        return
    session_id = _first_test_session(dataset, cache)
    name = f"{model['name']}/{model['version']}"
    archive = fetch_archive(client, session_id, cache)
    located = locate(find_version(client, name), read_archive(archive)[0], cache)
    say(f"\nPrediction for a held-out recording  [dim]$ heimdall predict {name} {session_id}[/]")
    console.print(f"  {located.line()}", markup=False)


def _first_test_session(dataset: Json, cache: Path) -> str:
    manifest = dataset["manifest"]
    path = cache / "manifests" / f"{manifest['sha256']}.json"
    _fetch(manifest["download_url"], path, sha256=manifest["sha256"])
    sessions = json.loads(path.read_bytes())["sessions"]
    return str(next(s["id"] for s in sessions if s["split"] == "test"))


def fetch_archive(client: ApiClient, session_id: str, cache: Path) -> Path:
    """A session's archive, downloaded once.

    Raises:
        InvalidRequest: the session's recordings do not lie in an archive.
    """
    archive = client.get(path_of("recording-sessions", session_id)).get("archive")
    if not archive:
        raise InvalidRequest(f"session {session_id} has no archive to read")
    path = cache / "archives" / f"{archive['sha256']}.sigmf"
    _fetch(archive["download_url"], path, sha256=archive["sha256"])
    return path


def _fetch(url: str, path: Path, *, sha256: str) -> None:
    if not path.is_file():
        download_checked(url, path, sha256=sha256)


def read_archive(path: Path) -> "list[RecordedSession]":
    """The sessions of a SigMF archive, or of a folder of SigMF files; the transmitter may be unknown.

    Raises:
        DataError: it holds something that cannot be read, or no session.
    """
    from heimdall_core.recordings.reading import InputFile, RefusedFile, read_sessions
    from heimdall_core.recordings.session import UNKNOWN_SOURCE, RecordedSession

    files = [path] if path.is_file() else sorted(p for p in path.rglob("*.sigmf*") if p.is_file())
    folder = path.parent if path.is_file() else path
    inputs = [InputFile(name=file.relative_to(folder).as_posix(), read=file.read_bytes) for file in files]
    outcomes = list(read_sessions(inputs, unknown=UNKNOWN_SOURCE))
    refused = next((o for o in outcomes if isinstance(o, RefusedFile)), None)
    if refused:
        raise DataError(f"{refused.name}: {refused.message}", code=refused.code, hint=refused.hint)
    sessions = [o for o in outcomes if isinstance(o, RecordedSession)]
    if not sessions:
        raise DataError(f"{path} holds no recording session")
    return sessions


def locate(version: Json, session: "RecordedSession", cache: Path) -> Located:
    """Runs the version's ONNX file on the session."""
    from heimdall_core.prediction import predict_sessions
    from heimdall_core.recordings.geodesy import distance_m

    onnx = version["onnx"]
    path = cache / "models" / f"{onnx['sha256']}.onnx"
    _fetch(onnx["download_url"], path, sha256=onnx["sha256"])
    predicted = predict_sessions(path, [session])
    latitude, longitude = float(predicted.latitude[0]), float(predicted.longitude[0])
    source = session.source
    is_known = source.is_located
    error_m = float(distance_m(latitude, longitude, source.latitude, source.longitude)) if is_known else None
    return Located(
        session=session.name,
        model=f"{version['name']}/{version['version']}",
        latitude=latitude,
        longitude=longitude,
        sigma_east_m=float(predicted.sigma_east_m[0]),
        sigma_north_m=float(predicted.sigma_north_m[0]),
        true_latitude=source.latitude if is_known else None,
        true_longitude=source.longitude if is_known else None,
        error_m=error_m,
        receivers=len(session.recordings),
    )
