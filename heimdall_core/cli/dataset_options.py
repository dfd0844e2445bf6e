"""The options that say what a dataset is made of, and the request body that they become."""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from heimdall_core.cli.client import Json
from heimdall_core.cli.request_bodies import read_body

_UNITS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_FREQUENCY = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([kMG]?)(?:Hz)?")


QUERY, SPLIT = "Which sessions", "Splits"


class Status(StrEnum):
    """What a person has said of a session."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


def parse_frequency(text: str) -> float:
    """Hertz of ``145.5M``, ``433.5e6`` or ``145500 kHz``."""
    if found := _FREQUENCY.fullmatch(text.strip()):
        return float(found[1]) * _UNITS[found[2]]
    raise typer.BadParameter(f"{text!r} is no frequency; write 145.5M or 145500000")


def parse_moment(text: str) -> str:
    """RFC 3339 of a time that says its zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2025-05-01T00:00Z") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} says no zone; write {moment.isoformat()}Z for UTC")
    return moment.isoformat()


def parse_box(text: str) -> Json:
    """A box of ``S,W,N,E``."""
    members = ("min_latitude", "min_longitude", "max_latitude", "max_longitude")
    return dict(zip(members, _numbers(text, "S,W,N,E"), strict=True))


def parse_circle(text: str) -> Json:
    """A circle of ``LAT,LON,KM``."""
    return dict(zip(("latitude", "longitude", "radius_km"), _numbers(text, "LAT,LON,KM"), strict=True))


def _numbers(text: str, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not {form} in degrees and km") from error
    if len(numbers) != len(form.split(",")):
        raise typer.BadParameter(f"{text!r} is not {form}")
    return numbers


def _of_query(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=QUERY, **settings)


def _of_split(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=SPLIT, **settings)


def definition_of(
    *,
    name: Annotated[str | None, typer.Argument(help="Dataset; may be left out with --query.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--query", help="The whole request as JSON, which options change; - reads stdin."),
    ] = None,
    after: Annotated[
        str | None,
        _of_query("--after", parser=parse_moment, metavar="TIME", help="Started then or later."),
    ] = None,
    before: Annotated[
        str | None, _of_query("--before", parser=parse_moment, metavar="TIME", help="Started before.")
    ] = None,
    min_frequency: Annotated[
        float | None,
        _of_query("--min-frequency", parser=parse_frequency, metavar="HZ", help="Like 145.5M or 433.5e6."),
    ] = None,
    max_frequency: Annotated[
        float | None, _of_query("--max-frequency", parser=parse_frequency, metavar="HZ")
    ] = None,
    box: Annotated[
        Any, _of_query("--box", parser=parse_box, metavar="S,W,N,E", help="Where the sources lie, degrees.")
    ] = None,
    circle: Annotated[
        Any, _of_query("--circle", parser=parse_circle, metavar="LAT,LON,KM", help="Or within KM of a point.")
    ] = None,
    receiver: Annotated[
        list[str] | None,
        _of_query(
            "--receiver", metavar="NAME", help="Only these receivers, which become the network's inputs."
        ),
    ] = None,
    min_receivers: Annotated[
        int | None,
        _of_query("--min-receivers", min=1, metavar="N", help="That many must have recorded a session ..."),
    ] = None,
    min_snr: Annotated[
        float | None, _of_query("--min-snr", metavar="DB", help="... with at least this SNR.")
    ] = None,
    source: Annotated[
        list[str] | None, _of_query("--source", metavar="NAME", help="Only these known sources.")
    ] = None,
    import_job: Annotated[
        list[str] | None, _of_query("--import-job", metavar="ID", help="Only what these brought.")
    ] = None,
    session: Annotated[
        list[str] | None, _of_query("--session", metavar="ID", help="Only these sessions.")
    ] = None,
    status: Annotated[
        list[Status] | None,
        _of_query("--status", help="Look at these sessions, not at the approved ones."),
    ] = None,
    strategy: Annotated[
        Literal["spatial_block", "group", "source"] | None,
        _of_split("--split", help="The unit that no split divides. Default: spatial_block."),
    ] = None,
    block_km: Annotated[
        float | None, _of_split("--block-km", metavar="KM", help="Side of a spatial block. Default: 20.")
    ] = None,
    test_fraction: Annotated[
        float | None, _of_split("--test-fraction", metavar="SHARE", help="Of the sessions. Default: 0.2.")
    ] = None,
    val_fraction: Annotated[
        float | None, _of_split("--val-fraction", metavar="SHARE", help="Of the sessions. Default: 0.2.")
    ] = None,
    test_group: Annotated[
        list[str] | None, _of_split("--test-group", metavar="UNIT", help="A unit to test on.")
    ] = None,
    val_group: Annotated[
        list[str] | None, _of_split("--val-group", metavar="UNIT", help="A unit to validate on.")
    ] = None,
    seed: Annotated[
        int | None, _of_split("--seed", min=0, metavar="N", help="Of the draw of units. Default: 0.")
    ] = None,
) -> Json:
    """The body of a request: the file's members, changed by the options that were given."""
    _refuse_contradictions(
        strategy=strategy,
        block_km=block_km,
        test=(test_group, test_fraction),
        val=(val_group, val_fraction),
        region=(box, circle),
    )
    body = read_body(file) if file is not None else {}
    _put(body, name=name)
    _put_into(
        body,
        "query",
        started_after=after,
        started_before=before,
        min_frequency_hz=min_frequency,
        max_frequency_hz=max_frequency,
        region={"box": box} if box else {"circle": circle} if circle else None,
        receivers=receiver,
        min_receivers=min_receivers,
        min_snr_db=min_snr,
        sources=source,
        import_job_ids=import_job,
        session_ids=session,
        approval_status=status,
    )
    _put_into(
        body,
        "split",
        strategy=strategy,
        block_km=block_km,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        test_groups=test_group,
        val_groups=val_group,
        seed=seed,
    )
    if "name" not in body:
        raise typer.BadParameter("name the dataset", param_hint="NAME")
    return body


def takes_definition(
    command: Callable[[Json, bool], None], *, without: tuple[str, ...] = ()
) -> Callable[..., None]:
    """A command with every option of ``definition_of`` but those ``without``, and ``--json``."""

    def run(as_json: bool = False, **given: Any) -> None:
        command(definition_of(**given), as_json)

    options = inspect.signature(definition_of).parameters
    told = inspect.Parameter(
        "as_json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print JSON.")],
    )
    parameters = [option for name, option in options.items() if name not in without] + [told]
    run.__doc__ = command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    return run


def _refuse_contradictions(
    *,
    strategy: str | None,
    block_km: float | None,
    test: tuple[object, object],
    val: tuple[object, object],
    region: tuple[object, object],
) -> None:
    """Raises BadParameter for options of which the service would use only one."""
    if all(region):
        raise typer.BadParameter("give --box or --circle, not both")
    if block_km is not None and strategy in {"group", "source"}:
        raise typer.BadParameter(f"--block-km is for --split spatial_block, not {strategy}")
    for split, (groups, fraction) in (("test", test), ("val", val)):
        if groups and fraction is not None:
            raise typer.BadParameter(f"--{split}-group names the units: leave --{split}-fraction out")


def _put(body: Json, **values: object) -> None:
    body.update({name: value for name, value in values.items() if value is not None})


def _put_into(body: Json, group: str, **values: object) -> None:
    """Sets members of a nested object; what is None is left to the file, or to the service."""
    nested = dict(_as_mapping(body.get(group)))
    _put(nested, **values)
    if nested:
        body[group] = nested


def _as_mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
