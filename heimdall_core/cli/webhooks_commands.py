"""``heimdall webhooks``: whom the service tells what happens, and whether it got through."""

from typing import Annotated, Literal

import typer

from heimdall_core.cli.client import Json, connect, path_of
from heimdall_core.cli.output import errors, moment, say, show_json, show_rows
from heimdall_core.domain.errors import Conflict
from heimdall_core.domain.job import JobKind

app = typer.Typer(help="Webhooks: who is told of events, and what was delivered.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EndpointArgument = Annotated[str, typer.Argument(help="An id, as `heimdall webhooks list` shows it.")]
DeliveryArgument = Annotated[str, typer.Argument(help="An id, as `heimdall webhooks deliveries` shows it.")]


@app.command("list")
def list_(limit: Annotated[int, typer.Option(min=1)] = 50, as_json: JsonOption = False) -> None:
    """Lists your endpoints, newest first; with an admin's key everybody's."""
    with connect() as client:
        found = list(client.pages("/v1/webhook-endpoints", limit=limit))
    if as_json:
        show_json(found)
        return
    show_rows(
        ("id", "url", "events", "kinds", "owner", "state", "last success"),
        (
            (
                e["id"],
                e["url"],
                ", ".join(e["events"]),
                ", ".join(e["kinds"]) or "all",
                "all" if e["all_owners"] else e["owner"],
                state_of(e),
                moment(e["last_success_at"]),
            )
            for e in found
        ),
        empty="no endpoint; `heimdall webhooks add` adds one",
    )


def state_of(endpoint: Json) -> str:
    """Whether it is told, and if not why."""
    if endpoint["enabled"]:
        return "enabled"
    reason = endpoint["disabled_reason"]
    return "disabled" if reason in {None, "request"} else f"disabled ({reason})"


@app.command(no_args_is_help=True)
def add(
    url: Annotated[str, typer.Argument(help="Public and https, unless the service allows more.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="A name, or its beginning with *, as model.*; repeat it. Default: all."),
    ] = None,
    kind: Annotated[
        list[JobKind] | None, typer.Option(help="Only of jobs of this kind; repeat it.", show_default="all")
    ] = None,
    description: Annotated[str | None, typer.Option(help="For people.")] = None,
    all_owners: Annotated[
        bool, typer.Option("--all-owners", help="Also of other owners' jobs; takes an admin's key.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Adds an endpoint and prints the secret that signs its messages, this once."""
    body: Json = {"url": url, "events": event, "kinds": kind, "description": description}
    body = {name: value for name, value in body.items() if value} | {"all_owners": all_owners}
    with connect() as client:
        made = client.post("/v1/webhook-endpoints", body)
    _tell_secret(made, as_json=as_json)


@app.command()
def rotate(endpoint: EndpointArgument, as_json: JsonOption = False) -> None:
    """Gives an endpoint a new secret and prints it; the former signs beside it for a while."""
    with connect() as client:
        made = client.post(path_of("webhook-endpoints", endpoint) + ":rotate-secret")
    _tell_secret(made, as_json=as_json)


def _tell_secret(endpoint: Json, *, as_json: bool) -> None:
    if endpoint["secret"] is None:
        raise Conflict(
            f"the answer that showed the secret of {endpoint['id']} was lost",
            hint=f"`heimdall webhooks rotate {endpoint['id']}` makes another",
        )
    if as_json:
        show_json(endpoint)
        return
    say(endpoint["secret"])
    until = endpoint["former_secret_until"]
    former = "" if until is None else f"; the former one signs too until {moment(until)}"
    errors.print(f"of {endpoint['id']}; keep it now, it is not shown again{former}", style="dim")


@app.command("test")
def send_test(endpoint: EndpointArgument, as_json: JsonOption = False) -> None:
    """Sends an endpoint a `webhook.test`."""
    with connect() as client:
        made = client.post(path_of("webhook-endpoints", endpoint) + ":test")
    _tell_sending(made, as_json=as_json)


@app.command()
def replay(delivery: DeliveryArgument, as_json: JsonOption = False) -> None:
    """Sends a message again, now, with the id that it had."""
    with connect() as client:
        made = client.post(path_of("webhook-deliveries", delivery) + ":replay")
    _tell_sending(made, as_json=as_json)


def _tell_sending(delivery: Json, *, as_json: bool) -> None:
    if as_json:
        show_json(delivery)
        return
    say(f"{delivery['event']} is being sent as {delivery['id']}")
    errors.print(f"`heimdall webhooks delivery {delivery['id']}` shows what comes of it", style="dim")


@app.command()
def deliveries(
    endpoint: EndpointArgument,
    status: Annotated[
        Literal["pending", "succeeded", "failed"] | None, typer.Option(help="Only these.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Lists what was sent to an endpoint, newest first."""
    path = path_of("webhook-endpoints", endpoint, "deliveries")
    with connect() as client:
        found = list(client.pages(path, limit=limit, status=status))
    if as_json:
        show_json(found)
        return
    show_rows(
        ("id", "event", "state", "tries", "created", "last answer", "next try"),
        (
            (
                d["id"],
                d["event"],
                d["status"],
                d["num_attempts"],
                moment(d["created_at"]),
                _last_answer(d),
                moment(d["next_attempt_at"]),
            )
            for d in found
        ),
        empty="nothing was sent to it in the last 30 days",
    )


@app.command()
def delivery(delivery: DeliveryArgument, as_json: JsonOption = False) -> None:
    """Shows one message, and how each attempt to deliver it went."""
    with connect() as client:
        found = client.get(path_of("webhook-deliveries", delivery))
    if as_json:
        show_json(found)
        return
    say(f"{found['event']} ({found['message_id']}): {found['status']}")
    show_rows(
        ("try", "at", "answer", "took"),
        ((a["number"], moment(a["at"]), _answer(a), f"{a['duration_ms']:.0f} ms") for a in found["attempts"]),
        empty="it has not been tried yet",
    )


def _last_answer(delivery: Json) -> str | None:
    return _answer(delivery["attempts"][-1]) if delivery["attempts"] else None


def _answer(attempt: Json) -> str:
    parts = (attempt["status_code"], attempt["error"])
    return ", ".join(str(part) for part in parts if part is not None) or "-"


@app.command()
def enable(endpoint: EndpointArgument, as_json: JsonOption = False) -> None:
    """Tells an endpoint again of what happens."""
    _switch(endpoint, enabled=True, as_json=as_json)


@app.command()
def disable(endpoint: EndpointArgument, as_json: JsonOption = False) -> None:
    """Tells an endpoint nothing, until it is enabled again."""
    _switch(endpoint, enabled=False, as_json=as_json)


def _switch(endpoint: str, *, enabled: bool, as_json: bool) -> None:
    with connect() as client:
        changed = client.patch(path_of("webhook-endpoints", endpoint), {"enabled": enabled})
    show_json(changed) if as_json else say(f"{changed['id']} is {state_of(changed)}")


@app.command()
def remove(endpoint: EndpointArgument) -> None:
    """Deletes an endpoint with its deliveries."""
    with connect() as client:
        client.delete(path_of("webhook-endpoints", endpoint))
    say(f"{endpoint} is removed")
