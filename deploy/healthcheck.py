# ruff: noqa: INP001 - scripts of the images, no package
"""``python healthcheck.py api|worker|control|beat|mlflow``: whether this container's process does its work.

Exits 0 if it does; else says on standard error what is wrong. Asks the process itself where it answers,
and else what it leaves behind: the worker's row, the control queue's length, beat's file.
"""

import http.client
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: A worker announces itself every heartbeat; so many may be missed.
MISSED_HEARTBEATS = 4
#: Beat sends about one message each second; so many wait only if no control worker takes them.
WAITING_MESSAGES = 100
#: Where compose has beat keep its schedule, which beat writes every three minutes.
BEAT_SCHEDULE = Path("/tmp/beat-schedule")  # noqa: S108 - a tmpfs of the container
BEAT_SILENCE_SECONDS = 600


class Unhealthy(Exception):
    """The process does not do its work."""


def check_api() -> None:
    """The API answers; whether it can serve is for /readyz."""
    _ask(8080, "/livez")


def check_mlflow() -> None:
    """MLflow answers."""
    _ask(5000, "/health")


def _ask(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)  # never through a proxy
    connection.request("GET", path)
    if (status := connection.getresponse().status) != http.HTTPStatus.OK:
        raise Unhealthy(f"{path} answers {status}")


def check_worker() -> None:
    """The worker of this host has lately announced itself, by the database's clock."""
    from sqlalchemy import func, select

    from heimdall_core.database.engine import Database
    from heimdall_core.database.job_tables import Worker
    from heimdall_core.settings import load_settings
    from worker.identity import this_worker

    settings, name = load_settings(), this_worker().name
    silence = select(func.extract("epoch", func.now() - Worker.last_seen_at)).where(Worker.name == name)
    with Database(settings.database, application_name="heimdall-healthcheck").transaction() as session:
        seconds = session.scalar(silence)
    if seconds is None:
        raise Unhealthy(f"{name} has never announced itself")
    if seconds > MISSED_HEARTBEATS * settings.lease.heartbeat_seconds:
        raise Unhealthy(f"{name} announced itself {seconds:.0f} s ago")


def check_control() -> None:
    """The control queue is worked off."""
    import redis

    from heimdall_core.jobs.hints import CONTROL_QUEUE
    from heimdall_core.settings import load_settings

    settings = load_settings().redis
    client = redis.Redis.from_url(settings.url.get_secret_value(), socket_connect_timeout=3, socket_timeout=3)
    if (waiting := client.llen(settings.key_prefix + CONTROL_QUEUE)) > WAITING_MESSAGES:
        raise Unhealthy(f"{waiting} messages wait in queue {CONTROL_QUEUE!r}")


def check_beat() -> None:
    """Beat has lately written its schedule."""
    silence = time.time() - max(
        path.stat().st_mtime for path in BEAT_SCHEDULE.parent.glob(f"{BEAT_SCHEDULE.name}*")
    )
    if silence > BEAT_SILENCE_SECONDS:
        raise Unhealthy(f"{BEAT_SCHEDULE} was written {silence:.0f} s ago")


CHECKS: dict[str, Callable[[], None]] = {
    "api": check_api,
    "worker": check_worker,
    "control": check_control,
    "beat": check_beat,
    "mlflow": check_mlflow,
}


def main() -> None:
    """Runs the check that the command line names."""
    try:
        CHECKS[sys.argv[1]]()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is why the process is not healthy
        sys.exit(f"{sys.argv[1]}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
