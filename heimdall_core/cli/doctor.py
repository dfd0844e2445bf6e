"""``heimdall doctor``: what is wrong with the surroundings of the service, and what to do."""

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from heimdall_core.cli.doctor_findings import (
    Check,
    Finding,
    Findings,
    State,
    broken,
    doubtful,
    fine,
    run_checks,
)
from heimdall_core.cli.errors import ExitCode
from heimdall_core.cli.output import console, errors, say, show_json
from heimdall_core.cli.stack_commands import HomeOption

if TYPE_CHECKING:
    from heimdall_core.cli.doctor_surroundings import Surroundings

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red"}
_SUBJECT_WIDTH = 12


def doctor(
    home: HomeOption = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Checks every address, bucket, credential and program, and says what to do.

    Looks at the local stack where `--home` is given or no HEIMDALL_* settings are, else at what those
    settings name. Ends with 1 where a check failed; warnings alone end with 0.
    """
    from heimdall_core.cli.doctor_surroundings import find_surroundings

    began = time.monotonic()
    around = find_surroundings(home)
    with errors.status("looking"):
        found = run_checks(checks_of(around))
    took = time.monotonic() - began
    if as_json:
        show_json(document(around.title, found))
    else:
        show_findings(around.title, found, took_seconds=took)
    if any(finding.state is State.FAILED for finding in found):
        raise typer.Exit(ExitCode.FAILED)


def checks_of(around: "Surroundings") -> list[Check]:
    """Everything that can be asked about these surroundings."""
    from heimdall_core.cli.doctor_machine import machine_checks

    return [
        *machine_checks(around.folders),
        *_settings_checks(around),
        *_stack_checks(around),
        *_engine_checks(around),
        *_api_checks(around),
    ]


def _settings_checks(around: "Surroundings") -> list[Check]:
    if around.problems:
        return [Check(subject="settings", run=lambda: _unreadable(around.problems))]
    if around.settings is not None and around.home is None:
        return [Check(subject="settings", run=lambda: [fine("settings", "every setting can be read")])]
    return []


def _unreadable(problems: tuple[str, ...]) -> Findings:
    remedy = "set or correct it in the environment or in .env; .env.example shows how"
    return [broken("settings", problem, remedy) for problem in problems]


def _stack_checks(around: "Surroundings") -> list[Check]:
    """Processes of a running stack; programs and ports for one that may be started."""
    from heimdall_core.cli.doctor_machine import check_ports, check_programs
    from heimdall_core.cli.doctor_surroundings import wanted_ports

    if around.home is None:
        return []
    if around.state.is_running:
        return [Check(subject="stack", run=lambda: check_processes(around))]
    return [
        Check(subject="stack", run=lambda: [fine("stack", "does not run; `heimdall up` starts it")]),
        Check(subject="programs", run=check_programs),
        Check(subject="ports", run=lambda: check_ports(wanted_ports(around.state))),
    ]


def check_processes(around: "Surroundings") -> Findings:
    """What the supervisor last wrote about its processes."""
    state = around.state
    ill = [p for p in state.processes if p.state not in {"ready", "running"}]
    if ill:
        return [
            doubtful("stack", f"{p.name} is still starting", "ask again in some seconds")
            if p.state == "starting" and not p.restarts
            else broken("stack", f"{p.name} is {p.state} ({p.restarts} restarts)", f"look at {p.log}")
            for p in ill
        ]
    names = ", ".join(p.name for p in state.processes)
    return [fine("stack", f"{state.phase}: {names}")]


def _engine_checks(around: "Surroundings") -> list[Check]:
    from heimdall_core.cli.doctor_api import check_tracking
    from heimdall_core.cli.doctor_database import DATABASE_SECONDS, check_database, check_redis
    from heimdall_core.cli.doctor_storage import storage_checks

    settings = around.settings
    if settings is None:
        return []
    return [
        Check(
            subject="postgres",
            run=lambda: check_database(settings.database),
            limit_seconds=DATABASE_SECONDS,
        ),
        Check(subject="redis", run=lambda: check_redis(settings.redis), limit_seconds=DATABASE_SECONDS),
        *storage_checks(settings.storage),
        Check(subject="mlflow", run=lambda: check_tracking(settings.tracking.uri)),
    ]


def _api_checks(around: "Surroundings") -> list[Check]:
    from heimdall_core.cli.doctor_api import API_SECONDS, check_api

    url = around.api_url
    if url is not None:
        return [
            Check(
                subject="api",
                run=lambda: check_api(url, around.api_key, around.api_setting),
                limit_seconds=API_SECONDS,
            )
        ]
    if around.home is not None:
        return []
    remedy = "set HEIMDALL_URL and HEIMDALL_API_KEY"
    return [
        Check(subject="api", run=lambda: [doubtful("api", "not checked: HEIMDALL_URL is not set", remedy)])
    ]


def document(title: str, found: list[Finding]) -> dict[str, object]:
    """The JSON form of a diagnosis."""
    worst = next((s for s in (State.FAILED, State.WARNING) if any(f.state is s for f in found)), State.OK)
    return {"checked": title, "state": worst.value, "findings": [finding.to_dict() for finding in found]}


def show_findings(title: str, found: list[Finding], *, took_seconds: float) -> None:
    """Prints a line for each finding, a second one where something is to be done, and the sum."""
    console.print(f"Checking {title}", markup=False)
    for finding in found:
        console.print(f"  {finding.state.value:<8}", style=_STYLES[finding.state], end="")
        console.print(f" {finding.subject:<{_SUBJECT_WIDTH}} {finding.message}", markup=False)
        if finding.remedy:
            console.print(f"{'':<{_SUBJECT_WIDTH + 12}}-> {finding.remedy}", markup=False, style="dim")
    counts = Counter(finding.state for finding in found)
    say(
        f"{counts[State.OK]} ok, {counts[State.WARNING]} warnings, {counts[State.FAILED]} failed "
        f"in {took_seconds:.1f} s"
    )
