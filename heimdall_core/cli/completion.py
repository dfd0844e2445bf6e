"""What a shell may complete, asked of the API with little patience and in silence."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Final

import typer

from heimdall_core.cli.client import ApiClient, Json, connect, path_of

PATIENCE_SECONDS: Final = 1.0
_MAX_COMPLETIONS = 50

Completions = list[tuple[str, str]]


def job_ids(incomplete: str) -> Completions:
    """Ids of the newest jobs."""
    return _ask(incomplete, lambda client: (_job(job) for job in _first(client, "/v1/jobs")))


def session_ids(incomplete: str) -> Completions:
    """Ids of recording sessions."""
    return _ask(
        incomplete,
        lambda client: ((str(s["id"]), str(s["name"])) for s in _first(client, "/v1/recording-sessions")),
    )


def dataset_names(incomplete: str) -> Completions:
    """Names of datasets."""
    return _ask(
        incomplete,
        lambda client: (
            (d["name"], f"newest version {d['version']}") for d in _first(client, "/v1/datasets")
        ),
    )


def model_names(incomplete: str) -> Completions:
    """Names of models; after a slash the versions of one."""
    name, slash, _ = incomplete.partition("/")
    if slash:
        return _ask(
            incomplete, lambda client: map(_version, client.pages(path_of("models", name, "versions")))
        )
    return _ask(incomplete, lambda client: map(_model, _first(client, "/v1/models")))


def _ask(incomplete: str, find: Callable[[ApiClient], Iterable[tuple[str, str]]]) -> Completions:
    """What begins with ``incomplete``; nothing where the API does not answer at once."""
    with suppress(Exception), connect(timeout_seconds=PATIENCE_SECONDS, num_tries=1) as client:
        return [found for found in find(client) if found[0].startswith(incomplete)]
    return []


def _first(client: ApiClient, path: str) -> Iterable[Json]:
    return client.pages(path, limit=_MAX_COMPLETIONS)


def _job(job: Json) -> tuple[str, str]:
    return job["id"], f"{job['kind']} {job['status']}"


def _model(model: Json) -> tuple[str, str]:
    champion = model.get("champion_version")
    return model["name"], f"champion {champion}" if champion else "no champion"


def _version(version: Json) -> tuple[str, str]:
    return f"{version['name']}/{version['version']}", ", ".join(version["aliases"]) or version["job_id"]


JobArgument = Annotated[str, typer.Argument(metavar="JOB_ID", help="A job.", autocompletion=job_ids)]
