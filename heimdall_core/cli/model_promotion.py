"""``heimdall models promote|rollback|compare|events``: which version of a model is to be used."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from heimdall_core.cli.client import Json, connect, path_of
from heimdall_core.cli.completion import model_names
from heimdall_core.cli.errors import RequestRefused
from heimdall_core.cli.output import console, metres, moment, say, show_json, show_rows
from heimdall_core.domain.errors import InvalidRequest

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model.", autocompletion=model_names)]
ReasonOption = Annotated[str | None, typer.Option(help="Why; it is kept with the event.")]


def promote(
    model: Annotated[
        str, typer.Argument(metavar="NAME/VERSION", help="A version.", autocompletion=model_names)
    ],
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever the gate says; needs --reason. Never an unverified one.")
    ] = False,
    reason: ReasonOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a version the champion if it passes the gate; the former champion becomes the previous one."""
    name, number = _version_of(model)
    if force and not (reason or "").strip():
        raise InvalidRequest("--force needs --reason", hint="Say why: it is kept with the promotion.")
    body = {"force": force, "reason": reason}
    with connect() as client:
        try:
            found = client.post(path_of("models", name, "versions", number) + ":promote", body)
        except RequestRefused as refusal:
            _show_refusal(refusal, as_json=as_json)
            raise
    _tell_promotion(found, as_json=as_json)


def rollback(name: NameArgument, *, reason: ReasonOption = None, as_json: JsonOption = False) -> None:
    """Makes the previous version the champion again; a second rollback undoes the first."""
    with connect() as client:
        champion = client.get(path_of("models", name))["champion_version"]
        body = {"reason": reason, "champion_version": champion}
        found = client.post(path_of("models", name) + ":rollback", body)
    _tell_promotion(found, as_json=as_json)


def compare(
    name: NameArgument,
    first: Annotated[int, typer.Argument(metavar="A", help="A version.", min=1)],
    second: Annotated[int, typer.Argument(metavar="B", help="Another version.", min=1)],
    *,
    as_json: JsonOption = False,
) -> None:
    """Compares two versions on the same test sessions, with intervals of their differences."""
    with connect() as client:
        found = client.get(path_of("models", name) + ":compare", versions=f"{first},{second}")
    if as_json:
        show_json(found)
    else:
        _show_comparison(found)


def events(
    name: NameArgument,
    *,
    after: Annotated[int, typer.Option(min=0, help="Only events with ids above this.")] = 0,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: JsonOption = False,
) -> None:
    """Shows a model's history, oldest first: registrations, promotions, refusals, rollbacks."""
    with connect() as client:
        found = client.get(path_of("models", name, "events"), after=after, limit=limit)["data"]
    if as_json:
        show_json(found)
        return
    show_rows(
        ("id", "at", "event", "version", "champion until then", "by", "why"),
        ((*_event_cells(event), _why(event)) for event in found),
        empty="no event",
    )


def _version_of(model: str) -> tuple[str, str]:
    name, _, number = model.partition("/")
    if not name or not number.isdecimal():
        raise InvalidRequest(
            f"{model!r} is not NAME/VERSION", hint="`heimdall models list NAME` shows the versions."
        )
    return name, number


def _tell_promotion(found: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    model, event = found["model"], found["event"]
    name, champion, previous = model["name"], model["champion_version"], model["previous_version"]
    if event is None:
        say(f"[bold]{name}/{champion}[/] is the champion already")
        return
    forced = ", against the gate" if event["forced"] else ""
    before = f"; {name}/{previous} is the previous version" if previous is not None else ""
    say(f"[bold]{name}/{champion}[/] is the [green]champion[/]{forced}{before}")
    if event["verdict"]:
        _show_checks(event["verdict"]["checks"])


def _show_refusal(refusal: RequestRefused, *, as_json: bool) -> None:
    """The verdict, before the line that says what was refused; nothing if that is not why."""
    verdict = refusal.problem.get("verdict")
    if not isinstance(verdict, dict):
        return
    if as_json:
        show_json(dict(refusal.problem))
        return
    _show_checks(verdict["checks"])
    _show_evaluations(verdict["evaluate"])


def _show_checks(checks: Sequence[Mapping[str, Any]]) -> None:
    show_rows(
        ("check", "", "what was found"),
        ((check["name"], "passed" if check["passed"] else "FAILED", check["detail"]) for check in checks),
        empty="no check",
    )


def _show_evaluations(bodies: Sequence[Mapping[str, Any]]) -> None:
    if not bodies:
        return
    say("They were not measured on the same test sessions. After this they are:")
    for body in bodies:
        model, dataset = (f"{body[part]['name']}/{body[part]['version']}" for part in ("model", "dataset"))
        console.print(f"  heimdall jobs evaluate {model} {dataset} --watch", markup=False)


def _show_comparison(found: Json) -> None:
    one, other = found["versions"]
    shared = found["same_sessions"]
    if shared is None:
        _show_own(found["versions"])
        _show_evaluations(found["evaluate"])
        return
    dataset = f"{shared['dataset']['name']}/{shared['dataset']['version']}"
    if not shared["differences"]:
        say(f"no test session of {dataset} is new to both versions: they cannot be compared")
        return
    say(f"{shared['num_sessions']:,} test sessions of {dataset} that both were measured on, new to both")
    show_rows(
        (
            "metric",
            f"{found['name']}/{one['version']}",
            f"{found['name']}/{other['version']}",
            "difference",
            "95 % interval",
            "better",
        ),
        (_difference_cells(row) for row in shared["differences"]),
        empty="no metric",
    )


def _show_own(versions: Sequence[Mapping[str, Any]]) -> None:
    """Each version on its own dataset: not to be compared."""
    show_rows(
        ("version", "its own test split", "median error", "mean error", "nll_per_m2"),
        (
            (
                version["version"],
                f"{version['dataset']['name']}/{version['dataset']['version']}",
                metres(version["metrics"].get("median_error_m")),
                metres(version["metrics"].get("mean_error_m")),
                _number(version["metrics"].get("nll_per_m2")),
            )
            for version in versions
        ),
        empty="no version",
    )


def _difference_cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    show = metres if row["metric"].endswith("_m") else _number
    low, high = row["interval"]
    return (
        row["metric"],
        *(show(value) for value in row["values"]),
        show(row["difference"]),
        f"{show(low)} to {show(high)}",
        "neither, for sure" if row["better"] is None else row["better"],
    )


def _number(value: object) -> str:
    return f"{value:z.3f}" if isinstance(value, int | float) else "-"


def _event_cells(event: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        event["id"],
        moment(event["at"]),
        event["event"].removeprefix("model."),
        event["version"],
        event["former_version"],
        event["actor"],
    )


def _why(event: Mapping[str, Any]) -> str | None:
    verdict = event["verdict"] or {}
    failed = [check["name"] for check in verdict.get("checks", ()) if not check["passed"]]
    parts = [event["reason"] or ""]
    if failed:
        parts.append(("forced against " if event["forced"] else "failed: ") + ", ".join(failed))
    return "; ".join(part for part in parts if part) or None
