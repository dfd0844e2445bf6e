"""Checks of the running service over HTTP: the API, its key, its workers, and MLflow."""

from datetime import UTC, datetime
from typing import Final

import httpx

from heimdall_core.cli.client import ApiClient, is_local
from heimdall_core.cli.doctor_causes import address_of, cause_of, redact
from heimdall_core.cli.doctor_findings import TIMEOUT_SECONDS, Finding, Findings, broken, doubtful, fine
from heimdall_core.cli.errors import RequestRefused, ServerUnreachable

WORKER_SILENCE_SECONDS: Final = 60.0
#: Some requests one after the other, each with its own time-out.
API_SECONDS: Final = 4 * TIMEOUT_SECONDS + 1.0
TRACKING_URI: Final = "HEIMDALL_TRACKING__URI"

#: A harmless request for each scope: what cannot be read is empty, what cannot be written is no valid body.
_SCOPES: Final = {
    "jobs:read": ("GET", "/v1/queue"),
    "jobs:write": ("POST", "/v1/jobs"),
    "recordings:read": ("GET", "/v1/recording-sessions?limit=1"),
    "recordings:write": ("POST", "/v1/uploads"),
    "datasets:read": ("GET", "/v1/datasets?limit=1"),
    "datasets:write": ("POST", "/v1/datasets"),
    "models:read": ("GET", "/v1/models?limit=1"),
}

_STATES: Final = {
    "not_migrated": "run `heimdall migrate`",
    "unavailable": "look at the check of it above, and whether the API has the same settings",
    "no_answer": "look at the check of it above, and whether the API has the same settings",
}


def check_api(url: str, key: str | None, setting: str) -> Findings:
    """Whether the API lives, is ready, takes the key, and has workers."""
    address = address_of(url, setting)
    if address is None or not url.startswith(("http://", "https://")):
        return [broken("api", f"{setting} is no HTTP URL", "its form is https://HOST:PORT")]
    try:
        with httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=not is_local(url)) as http:
            alive = http.get("/livez")
            if not alive.is_success:
                return [_stranger(url, alive.status_code, setting)]
            found = [fine("api", f"{redact(url)} answers"), *_readiness(http.get("/readyz"))]
    except httpx.HTTPError as error:
        cause = cause_of(error, address)
        return [broken("api", cause.message, cause.remedy)]
    return [*found, *_with_key(url, key)]


def _stranger(url: str, status: int, setting: str) -> Finding:
    remedy = f"correct {setting}, or the path that the proxy before the API passes on"
    return broken("api", f"{redact(url)}/livez answers HTTP {status}", remedy)


def _readiness(answer: httpx.Response) -> Findings:
    """What the API itself says of its neighbours."""
    try:
        states = {name: state for name, state in answer.json().items() if name != "ready"}
    except (ValueError, AttributeError):
        return [broken("api", f"/readyz answers HTTP {answer.status_code}", "look at the log of the API")]
    used = {name: state for name, state in states.items() if state != "not_used"}
    bad = {name: state for name, state in used.items() if state != "ok"}
    if not bad:
        return [fine("api", f"it reaches {', '.join(used)}")]
    make = doubtful if answer.is_success else broken
    return [
        make("api", f"it says {name} is {state}", _STATES.get(state, "see its log"))
        for name, state in bad.items()
    ]


def _with_key(url: str, key: str | None) -> Findings:
    if not key:
        remedy = "set HEIMDALL_API_KEY to a key of this service"
        return [broken("key", "HEIMDALL_API_KEY is not set", remedy)]
    with ApiClient(url, key, timeout_seconds=TIMEOUT_SECONDS, num_tries=1) as client:
        try:
            return [*_scopes(client), *_workers(client)]
        except RequestRefused as error:
            return [broken("key", f"the API refuses the key: {error.message}", error.hint or _NEW_KEY)]
        except ServerUnreachable as error:
            return [broken("api", error.message, "look at the log of the API")]


_NEW_KEY: Final = "set HEIMDALL_API_KEY to a key that this service knows"


def _scopes(client: ApiClient) -> Findings:
    """What the key may do, found by requests that change nothing."""
    may: list[str] = []
    for scope, (method, path) in _SCOPES.items():
        try:
            client.get(path) if method == "GET" else client.post(path, {})
        except RequestRefused as error:
            if error.status == httpx.codes.UNAUTHORIZED:
                raise
            if error.status == httpx.codes.FORBIDDEN:
                continue
        may.append(scope)
    lacking = [scope for scope in _SCOPES if scope not in may]
    if not lacking:
        return [fine("key", f"accepted, with all scopes: {', '.join(may)}")]
    remedy = "use a key that has them, if you need them"
    return [
        doubtful("key", f"accepted with {', '.join(may) or 'no scope'}; lacks {', '.join(lacking)}", remedy)
    ]


def _workers(client: ApiClient) -> Findings:
    """Who would run a job, seen within the last minute."""
    try:
        workers = client.get("/v1/workers")["data"]
    except RequestRefused as error:
        if error.status == httpx.codes.FORBIDDEN:
            return [doubtful("workers", "the key may not see them", "use a key with the scope jobs:read")]
        raise
    now = datetime.now(UTC)
    awake = [w for w in workers if _silence_seconds(w["last_seen_at"], now) < WORKER_SILENCE_SECONDS]
    if awake:
        told = ", ".join(f"{w['name']} ({w['accelerator']}, {w['slots']} slots)" for w in awake)
        return [fine("workers", f"{len(awake)} of {len(workers)} seen in the last minute: {told}")]
    when = max((w["last_seen_at"] for w in workers), default=None)
    known = f"the last at {when}" if when else "none has ever been"
    told = f"none seen in the last minute, {known}: jobs wait"
    if is_local(client.url):
        remedy = "`heimdall up` starts one; if it has just been started, ask again in some seconds"
        return [doubtful("workers", told, remedy) if when is None else broken("workers", told, remedy)]
    remedy = "start one (`celery -A worker.celery_app worker -Q jobs -P threads`) and look at its log"
    return [broken("workers", told, remedy)]


def _silence_seconds(moment: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(moment)).total_seconds()


def check_tracking(uri: str | None) -> Findings:
    """Whether MLflow answers, where it is used."""
    if not uri:
        return [fine("mlflow", "not configured: nothing is tracked there")]
    address = address_of(uri, TRACKING_URI)
    if address is None or not uri.startswith(("http://", "https://")):
        return [doubtful("mlflow", "not an HTTP server: not checked", f"look at {TRACKING_URI} yourself")]
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=TIMEOUT_SECONDS, trust_env=not is_local(uri))
    except httpx.HTTPError as error:
        cause = cause_of(error, address)
        message = f"{cause.message}; jobs run, but are not shown there"
        return [doubtful("mlflow", message, cause.remedy)]
    if answer.is_success:
        return [fine("mlflow", f"{redact(uri)} answers")]
    if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        message = f"{redact(uri)} wants a credential (HTTP {answer.status_code})"
        return [doubtful("mlflow", message, f"put user and password into {TRACKING_URI}")]
    return [doubtful("mlflow", f"{redact(uri)} answers HTTP {answer.status_code}", f"correct {TRACKING_URI}")]
