"""``heimdall schedules``: models that are trained again by the clock, on new recordings, or on drift."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from heimdall_core.cli.client import Json, connect, path_of
from heimdall_core.cli.completion import model_names
from heimdall_core.cli.model_retraining import read_overrides
from heimdall_core.cli.output import console, moment, say, show_json, show_rows
from heimdall_core.cli.request_bodies import read_body
from heimdall_core.domain.errors import InvalidRequest

app = typer.Typer(help="Schedules: train a model again by itself.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ScheduleArgument = Annotated[str, typer.Argument(help="An id, as `heimdall schedules list` shows it.")]
_OF_CRON = ("time_zone", "jitter_seconds", "catch_up")
_OF_DRIFT = ("consecutive", "source")


@app.command("list")
def list_(
    model: Annotated[str | None, typer.Option(help="Only of this.", autocompletion=model_names)] = None,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Lists your schedules, newest first."""
    with connect() as client:
        found = list(client.pages("/v1/schedules", limit=limit, model=model))
    if as_json:
        show_json(found)
        return
    show_rows(
        ("id", "name", "model", "when", "enabled", "next", "last", "job"),
        (
            (
                s["id"],
                s["name"],
                s["model"],
                condition_of(s),
                "yes" if s["enabled"] else "no",
                moment(s["next_run_at"]),
                outcome_of(s),
                s["job_id"],
            )
            for s in found
        ),
        empty="no schedule; `heimdall schedules add` adds one",
    )


def condition_of(schedule: Json) -> str:
    """What it waits for, in a few words."""
    when = schedule["when"]
    if when["type"] == "cron":
        return f"{when['expression']} ({when['time_zone']})"
    if when["type"] == "new_sessions":
        return f"{when['sessions']} new sessions"
    times = f" {when['consecutive']} times" if when["consecutive"] > 1 else ""
    source = f" by {when['source']}" if when["source"] else ""
    return f"drift of {when['threshold']:g}{times}{source}"


def outcome_of(schedule: Json) -> str | None:
    """What came of the last occasion."""
    last = schedule["last_outcome"]
    if last is None:
        return None
    return last["outcome"] if last["code"] is None else f"{last['outcome']} ({last['code']})"


@app.command(no_args_is_help=True)
def add(
    name: Annotated[str | None, typer.Argument(help="For people.")] = None,
    *,
    model: Annotated[
        str | None, typer.Option(help="Its champion is trained again.", autocompletion=model_names)
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Kept with each job.", show_default="NAME")] = None,
    cron: Annotated[str | None, typer.Option(help='Five fields, as "0 3 * * mon".')] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Of --cron: an IANA name, as Europe/Rome.", show_default="UTC")
    ] = None,
    jitter_seconds: Annotated[
        int | None, typer.Option(min=0, help="Of --cron: each run is late by a part of this.")
    ] = None,
    catch_up: Annotated[
        Literal["skip", "once"] | None, typer.Option(help="Of --cron: runs that nobody was there for.")
    ] = None,
    new_sessions: Annotated[
        int | None, typer.Option(min=1, help="When so many recordings are new to the champion.")
    ] = None,
    drift: Annotated[float | None, typer.Option(help="When a drift score reaches this.")] = None,
    consecutive: Annotated[
        int | None, typer.Option(min=1, help="Of --drift: so many scores in a row.", show_default="1")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Of --drift: only scores of this source.")] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Begin with the champion's weights.")
    ] = False,
    promote: Annotated[
        Literal["never", "if_better"] | None,
        typer.Option(help="Whether it may become the champion. Default: as the champion's job had it."),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Otherwise than the champion; repeat."),
    ] = None,
    min_interval_seconds: Annotated[
        int, typer.Option(min=0, help="After a job of it no other is queued for so long.")
    ] = 0,
    disabled: Annotated[bool, typer.Option("--disabled", help="Does not count yet.")] = False,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The whole request as JSON; - reads stdin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Adds a schedule, with one of --cron, --new-sessions and --drift."""
    if file is not None:
        if name is not None:
            raise InvalidRequest("name either a schedule or --file, not both")
        body = read_body(file)
    elif name is None or model is None:
        raise InvalidRequest("a schedule needs a NAME and a --model, or a --file")
    else:
        body = {
            "name": name,
            "model": model,
            "when": _condition(
                {"cron": cron, "new_sessions": new_sessions, "drift": drift},
                {"time_zone": time_zone, "jitter_seconds": jitter_seconds, "catch_up": catch_up}
                | {"consecutive": consecutive, "source": source},
            ),
            "retrain": {
                "reason": reason or name,
                "warm_start": warm_start,
                "overrides": read_overrides(override or ()),
                **({} if promote is None else {"promote": promote}),
            },
            "enabled": not disabled,
            "min_interval_seconds": min_interval_seconds,
        }
    with connect() as client:
        made = client.post("/v1/schedules", body)
    show_json(made) if as_json else _show(made)


def _condition(kinds: Json, details: Json) -> Json:
    """Raises InvalidRequest unless one kind is given, and of the details only its own."""
    wanted = [kind for kind, value in kinds.items() if value is not None]
    if len(wanted) != 1:
        raise InvalidRequest("a schedule waits for one of --cron, --new-sessions and --drift")
    kind = wanted[0]
    own = {"cron": _OF_CRON, "drift": _OF_DRIFT}.get(kind, ())
    given = {name: value for name, value in details.items() if value is not None}
    if foreign := [name for name in given if name not in own]:
        option = foreign[0].replace("_", "-")
        raise InvalidRequest(f"--{option} does not go with --{kind.replace('_', '-')}")
    members = {"cron": "expression", "new_sessions": "sessions", "drift": "threshold"}
    return {"type": kind, members[kind]: kinds[kind], **given}


@app.command()
def show(schedule: ScheduleArgument, as_json: JsonOption = False) -> None:
    """Shows a schedule: what it waits for, what it asks for, what came of the last occasion."""
    with connect() as client:
        found = client.get(path_of("schedules", schedule))
    show_json(found) if as_json else _show(found)


def _show(schedule: Json) -> None:
    last = schedule["last_outcome"] or {}
    facts = [
        ("schedule", f"{schedule['id']} ({schedule['name']}, by {schedule['owner']})"),
        ("model", schedule["model"]),
        ("when", condition_of(schedule)),
        ("enabled", "yes" if schedule["enabled"] else "no"),
        ("next", moment(schedule["next_run_at"])),
        ("last", outcome_of(schedule)),
        ("because", last.get("detail")),
        ("job", schedule["job_id"]),
        ("asks for", ", ".join(f"{k}={v}" for k, v in schedule["retrain"].items() if v)),
    ]
    for name, value in facts:
        if value not in {None, "", "-"}:
            console.print(f"{name:<9} {value}", markup=False)


@app.command()
def run(schedule: ScheduleArgument, as_json: JsonOption = False) -> None:
    """Does now what a schedule asks for, whatever it waits for."""
    with connect() as client:
        ran = client.post(path_of("schedules", schedule) + ":run")
    show_json(ran) if as_json else say(f"job {ran['job_id']} {(ran['last_outcome'] or {}).get('outcome')}")


@app.command()
def enable(schedule: ScheduleArgument, as_json: JsonOption = False) -> None:
    """Lets a schedule count from now on; nothing is caught up."""
    _switch(schedule, enabled=True, as_json=as_json)


@app.command()
def disable(schedule: ScheduleArgument, as_json: JsonOption = False) -> None:
    """Keeps a schedule from queueing jobs; one that it has queued goes on."""
    _switch(schedule, enabled=False, as_json=as_json)


def _switch(schedule: str, *, enabled: bool, as_json: bool) -> None:
    with connect() as client:
        changed = client.patch(path_of("schedules", schedule), {"enabled": enabled})
    show_json(changed) if as_json else say(f"{changed['id']} is {'enabled' if enabled else 'disabled'}")


@app.command()
def remove(schedule: ScheduleArgument) -> None:
    """Deletes a schedule; a job that it has queued goes on."""
    with connect() as client:
        client.delete(path_of("schedules", schedule))
    say(f"{schedule} is removed")
