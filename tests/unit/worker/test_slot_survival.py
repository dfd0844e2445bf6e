"""A slot outlives whatever goes wrong with one job."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pydantic import SecretStr

from heimdall_core.database.engine import Database
from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.jobs.claiming import Claim
from heimdall_core.settings import DatabaseSettings, LeaseSettings, WorkerSettings
from worker.supervision import Attempt, Host

LEASE = LeaseSettings(
    lease_seconds=2,
    heartbeat_seconds=0.1,
    stop_after_seconds=0.3,
    kill_after_seconds=0.6,
    flag_poll_seconds=0.05,
)
CLAIM = Claim(
    job_id="job_x",
    attempt=1,
    lease_owner="w",
    kind="train",
    owner="o",
    spec={},
    inputs={},
    max_attempts=3,
    failures=0,
    waited_seconds=0,
    adjustments={},
    runtime_left_seconds=None,
)


class Down:
    """A fork server that does not start."""

    def spawn(self) -> Any:
        raise InfrastructureError("down", code="fork_server_down")


def test_no_trainer_and_no_database_to_tell_end_the_attempt_and_not_the_slot(tmp_path: Path) -> None:
    url = SecretStr("postgresql+psycopg://x:y@127.0.0.1:9/x")
    database = Database(DatabaseSettings(url=url, connect_timeout_seconds=1))
    settings = SimpleNamespace(lease=LEASE, worker=WorkerSettings(), home=tmp_path)
    host = Host(
        database=database,
        store=cast("Any", None),
        fork_server=cast("Any", Down()),
        settings=cast("Any", settings),
        shutdown=threading.Event(),
    )
    Attempt(host, CLAIM).run()
    database.dispose()
