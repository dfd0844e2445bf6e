"""``heimdall models retrain``: the champion trained again on what is approved now."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

import typer

from heimdall_core.cli.client import Json, connect, path_of
from heimdall_core.cli.completion import model_names
from heimdall_core.cli.following import follow
from heimdall_core.cli.jobs_submitting import tell_result
from heimdall_core.cli.output import say, show_json
from heimdall_core.cli.request_bodies import read_body
from heimdall_core.domain.errors import InvalidRequest

_WORDS = {"queued": "is queued", "joined": "was queued already", "repeated": "is that of this key"}


def retrain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model.", autocompletion=model_names)],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the job.")],
    dedupe_key: Annotated[
        str | None,
        typer.Option(help="Names the occasion: the same key gets the same job for ever. Default: a new one."),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A definition as JSON. Default: the champion's; - reads stdin."),
    ] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Begin with the champion's weights.")
    ] = False,
    promote: Annotated[
        Literal["never", "if_better"] | None,
        typer.Option(help="Whether it may become the champion. Default: as the champion's job had it."),
    ] = None,
    min_new_sessions: Annotated[
        int | None, typer.Option(min=0, help="With fewer there is no job.", show_default="1")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Otherwise than the champion, as training.epochs=60; repeat."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever has or has not changed since its training.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Trains the champion again on the recordings that are approved now."""
    body: Json = {
        "reason": reason,
        "dedupe_key": dedupe_key or f"cli-{uuid4()}",
        "warm_start": warm_start,
        "force": force,
        "overrides": read_overrides(override or ()),
    }
    if dataset is not None:
        body["dataset"] = read_body(dataset)
    given = {"promote": promote, "min_new_sessions": min_new_sessions}
    body |= {member: value for member, value in given.items() if value is not None}
    with connect() as client:
        job = client.post(path_of("models", name) + ":retrain", body)
        if not as_json:
            _tell(job)
        if watch:
            job = follow(client, job["id"], quiet=as_json)
    if as_json:
        show_json(job)
    elif watch:
        tell_result(job)


def read_overrides(settings: Sequence[str]) -> Json:
    """The merge patch that the settings make together: values are JSON, or else texts.

    Raises:
        InvalidRequest: one is not FIELD=VALUE, or sets a part of what another sets.
    """
    patch: Json = {}
    for setting in settings:
        path, equals, value = setting.partition("=")
        # A tag's own name may hold dots.
        names = path.split(".", 1 if path.startswith("tags.") else -1)
        if not equals or not all(names):
            raise InvalidRequest(f"{setting!r} is not FIELD=VALUE", hint="Write --set training.epochs=60.")
        _put(patch, names, _value(value), setting)
    return patch


def _put(patch: Json, names: Sequence[str], value: Any, setting: str) -> None:
    place = patch
    for name in names[:-1]:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            break
    if not isinstance(place, dict) or names[-1] in place:
        raise InvalidRequest(f"{setting!r} contradicts another --set", hint="Set each field once.")
    place[names[-1]] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _tell(job: Json) -> None:
    changes = [
        f"{count:,} {word}"
        for count, word in ((job["new_sessions"], "new"), (job["withdrawn_sessions"], "withdrawn"))
        if count is not None
    ]
    counted = f": {' and '.join(changes)} sessions" if changes else ""
    say(f"job [bold]{job['id']}[/] {_WORDS[job['outcome']]}{counted}")
    if job["left_as_it_is"]:
        say(f"[yellow]it was asked for otherwise, and is left as it is:[/] {', '.join(job['left_as_it_is'])}")
