"""``heimdall replay``: a model trained again from its manifest, and whether the weights agree."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

from heimdall_core.cli.errors import ServerUnknown, ServerUnreachable
from heimdall_core.cli.failing import report_failure
from heimdall_core.cli.output import console, errors, say, show_error, show_json, show_rows
from heimdall_core.cli.replay_sources import MANIFEST, find_manifest, find_store, pretrained_dir
from heimdall_core.domain.errors import HeimdallError, InvalidRequest
from heimdall_core.domain.ports import JobStopped

if TYPE_CHECKING:
    from heimdall_core.replay.conditions import Difference
    from heimdall_core.replay.preparing import Places
    from heimdall_core.replay.record import RunRecord
    from heimdall_core.replay.running import ReplayReporter

AGREES: Final = 0
DIFFERS: Final = 1
NOT_RUN: Final = 2


def replay(
    manifest: Annotated[
        str,
        typer.Argument(
            help="A run's manifest.json: a file or its folder, s3://BUCKET/KEY, the id of a job, or "
            "MODEL/VERSION."
        ),
    ],
    dataset: Annotated[
        Path | None,
        typer.Option(help="The frozen dataset manifest.", show_default="where the run's manifest says"),
    ] = None,
    store_root: Annotated[
        str | None,
        typer.Option(
            help="Where the recordings lie: a folder, or an S3 endpoint URL with AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY.",
            show_default="beside a file, else HEIMDALL_STORAGE__*, else the local stack",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The folder of recordings that `heimdall train` was given.")
    ] = None,
    validation_split: Annotated[
        float | None, typer.Option(help="With --data-dir: as `heimdall train` was given it.")
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(help="The weights that it started from.", show_default="where the manifest says"),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Keep what is trained here.", show_default="a temporary folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Trains a model again from its manifest: exits with 0 if the weights agree, 1 if not, 2 if it cannot."""
    from heimdall_core.replay.preparing import Places

    places = Places(
        dataset=dataset, data_dir=data_dir, validation_split=validation_split, init_from=init_from
    )
    try:
        _require_sense(places)
        with _folder(output_dir) as folder:
            status = _replay(manifest, places, store_root, folder, as_json=as_json)
    except (ServerUnknown, ServerUnreachable):
        raise
    except HeimdallError as error:
        if as_json:
            show_json({"agree": None, "error": error.to_info().to_dict()})
        show_error(error)
        status = NOT_RUN
    except Exception as error:  # noqa: BLE001 - the status of a crash must not say that the weights differ
        if as_json:
            show_json({"agree": None, "error": HeimdallError(str(error)).to_info().to_dict()})
        report_failure(error)
        status = NOT_RUN
    raise typer.Exit(status)


def _require_sense(places: "Places") -> None:
    if places.validation_split is not None and places.data_dir is None:
        raise InvalidRequest(
            "--validation-split: a manifest's splits are frozen", hint="Give it with --data-dir."
        )
    if places.dataset is not None and places.data_dir is not None:
        raise InvalidRequest("--dataset and --data-dir both name the recordings", hint="Give one of them.")


@contextmanager
def _folder(output_dir: Path | None) -> Iterator[Path]:
    if output_dir is None:
        with TemporaryDirectory(prefix="heimdall-replay-") as name:
            yield Path(name)
        return
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"{output_dir} cannot be made: {error.strerror}",
            code="output_unwritable",
            hint="Give another --output-dir.",
        ) from error
    yield output_dir


def _require_free(folder: Path, beside: Path | None) -> None:
    """The run that is replayed, or any other, must not be overwritten by what is trained."""
    is_own = beside is not None and folder.resolve() == beside.resolve()
    if is_own or (folder / MANIFEST).exists():
        raise InvalidRequest(
            f"{folder} holds the results of a run, which would be overwritten",
            code="output_unwritable",
            hint="Give another --output-dir.",
        )


def _replay(manifest: str, places: "Places", store_root: str | None, folder: Path, *, as_json: bool) -> int:
    from heimdall_core.local.interruption import Interruption
    from heimdall_core.replay.record import read_record
    from heimdall_core.replay.running import ReplayReporter

    found = find_manifest(manifest, store_root=store_root)
    _require_free(folder, found.beside)
    record = read_record(found.data, found.name)
    places = replace(places, beside=found.beside)
    progress = Console(stderr=as_json, highlight=False, soft_wrap=True)
    with Interruption(lambda line: progress.print(line, markup=False)) as interruption:
        reporter = ReplayReporter(progress, interruption, record.num_steps)
        try:
            result = _compare(record, places, store_root, folder, reporter, progress)
        except JobStopped:
            errors.print("stopped: nothing was compared")
            return interruption.exit_status
    if as_json:
        show_json({"manifest": found.name, **result})
    else:
        _tell_outcome(result)
    return AGREES if result["agree"] else DIFFERS


def _compare(
    record: "RunRecord",
    places: "Places",
    store_root: str | None,
    folder: Path,
    reporter: "ReplayReporter",
    progress: Console,
) -> dict[str, Any]:
    from heimdall_core.replay.conditions import find_differences, promise_of
    from heimdall_core.replay.preparing import prepare
    from heimdall_core.replay.running import replay_training

    store = find_store(store_root or (None if places.data_dir is None else str(folder)), places.beside)
    differences, promise = find_differences(record), promise_of(record)
    _tell_conditions(progress, record, differences, promise)
    record, data = prepare(record, places, store, output_dir=folder, reporter=reporter)
    outcome = replay_training(
        record, data, reporter=reporter, output_dir=folder, pretrained_dir=pretrained_dir()
    )
    return outcome.to_dict() | {"promise": promise, "differences": [asdict(d) for d in differences]}


def _tell_conditions(
    progress: Console, record: "RunRecord", differences: "Sequence[Difference]", promise: str
) -> None:
    """Before the training: what is replayed, what can be promised, and what is otherwise now."""
    name, version = record.dataset["name"], record.dataset["version"]
    progress.print(f"replaying {record.run_name} on {name}/{version}. {promise}", markup=False)
    for difference in differences:
        mark = "[yellow]may change bits[/]" if difference.may_change_bits else "[dim]changes no bits[/]"
        progress.print(f"  {mark}  ", end="")
        progress.print(f"{difference.name}: {difference.then} then, {difference.now} now", markup=False)
    if not differences:
        progress.print("  nothing differs between then and now")


def _tell_outcome(result: dict[str, Any]) -> None:
    weights = result["weights"]
    if result["agree"]:
        say(f"[green]agree[/]: the weights are the same bits, digest {weights['now_sha256']}")
        return
    say("[bold red]differ[/]: the weights are not the same bits")
    console.print(f"  then {weights['then_sha256']}\n  now  {weights['now_sha256']}", markup=False)
    if weights["reason"]:
        console.print(f"  how far apart they are is not known: {weights['reason']}", markup=False)
    else:
        line = f"{weights['num_different']} tensors differ, by {weights['max_difference']:.3g} at most"
        console.print(f"  {line} ({weights['worst']})", markup=False)
    show_rows(
        ("test split", "then", "now", "difference"),
        (
            (name, *(_number(pair[key]) for key in ("then", "now", "difference")))
            for name, pair in result["metrics"].items()
        ),
        empty="no metric is known",
    )


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else "-"
