"""``heimdall keys create|list|revoke|whoami``."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of
from heimdall_core.cli.output import errors, moment, say, show_json, show_rows
from heimdall_core.domain.errors import Conflict, NotFound
from heimdall_core.domain.scopes import Scope

app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_ID_PREFIX = "key_"


@app.command(no_args_is_help=True)
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it opens; repeat it for more.")],
    owner: Annotated[str | None, typer.Option(help="Whose it is; another's takes an admin's key.")] = None,
    days: Annotated[
        float | None, typer.Option(min=0.001, help="How long it is valid; default: as long as the caller's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a key and prints it, this once."""
    body = {"name": name, "scopes": [s.value for s in scope], "owner": owner, "expires_at": _in_days(days)}
    with connect() as client:
        made = client.post("/v1/api-keys", {k: v for k, v in body.items() if v is not None})
    if made["key"] is None:
        raise Conflict(
            f"the key {made['id']} was made, but the answer that showed it was lost",
            hint=f"`heimdall keys revoke {made['id']}`, then make another",
        )
    if as_json:
        show_json(made)
        return
    say(made["key"])
    until = "does not expire" if made["expires_at"] is None else f"valid until {moment(made['expires_at'])}"
    errors.print(f"{made['id']} of {made['owner']}, {until}; keep it now, it is not shown again", style="dim")


@app.command("list")
def list_(
    owner: Annotated[str | None, typer.Option(help="Of everybody's: only whose.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Expired and revoked ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: JsonOption = False,
) -> None:
    """Lists your keys; with an admin's key everybody's."""
    status = None if everything else "active"
    with connect() as client:
        keys = list(client.pages("/v1/api-keys", limit=limit, owner=owner, status=status))
    if as_json:
        show_json(keys)
        return
    show_rows(
        ("id", "begins", "owner", "name", "scopes", "status", "expires", "last used"),
        (
            (
                k["id"],
                k["prefix"],
                k["owner"],
                k["name"],
                ", ".join(k["scopes"]),
                k["status"],
                moment(k["expires_at"]),
                moment(k["last_used_at"]),
            )
            for k in keys
        ),
        empty="no key; `heimdall keys create` makes one",
    )


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or how it begins, as `heimdall keys list` shows them.")],
    as_json: JsonOption = False,
) -> None:
    """Ends a key now and for good."""
    with connect() as client:
        revoked = client.delete(path_of("api-keys", _id_of(client, key)))
    show_json(revoked) if as_json else say(f"{revoked['id']} ({revoked['name']}) opens nothing any more")


@app.command()
def whoami(as_json: JsonOption = False) -> None:
    """Shows who you are to the service, and what you may do."""
    with connect() as client:
        caller = client.get("/v1/whoami")
    if as_json:
        show_json(caller)
        return
    until = "" if caller["expires_at"] is None else f", until {moment(caller['expires_at'])}"
    opens = ", ".join(caller["scopes"]) or "nothing"
    say(f"{caller['owner']} ({caller['key_id'] or 'a token'}{until}): {opens}")


def _in_days(days: float | None) -> str | None:
    return None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()


def _id_of(client: ApiClient, key: str) -> str:
    """The id of the one key that is meant; a whole key is never sent anywhere but in ``Authorization``."""
    if key.startswith(_ID_PREFIX):
        return key
    found: list[Json] = list(client.pages("/v1/api-keys", prefix=key[:10], status="active"))
    if not found:
        raise NotFound(f"no active key begins with {key[:10]!r}", hint="`heimdall keys list` shows them")
    if len(found) > 1:
        raise Conflict(f"{len(found)} keys begin with {key[:10]!r}", hint="name the id: `heimdall keys list`")
    return str(found[0]["id"])
