"""The injectors: each does one fault to the running system, undoes what must be undone, and says what it did."""

from tests.chaos.faults import (
    api,
    control,
    database,
    freezes,
    kills,
    late,
    points,
    races,
    requests,
    storage,
    valkey,
)
from tests.chaos.faults.chaos import Chaos, Found, Injector

__all__ = ["INJECTORS", "Chaos", "Found", "Injector"]

INJECTORS: dict[str, Injector] = {
    f.__name__: f
    for f in (
        api.api_killed,
        api.api_commit_answer_lost,
        valkey.valkey_away,
        valkey.valkey_flushed,
        valkey.valkey_restarted_empty,
        control.control_killed,
        control.dispatcher_killed_before_hint,
        control.hints_dropped,
        control.hints_forged,
        points.crash_point,
        kills.worker_killed,
        kills.trainer_killed,
        kills.fork_server_killed,
        points.trainer_crashed,
        points.memory_out,
        kills.stubborn_cancelled,
        freezes.supervisor_frozen,
        freezes.trainer_frozen,
        freezes.all_frozen,
        freezes.fork_server_frozen,
        database.database_silent_for_one,
        database.database_silent_for_all,
        database.database_closed,
        database.commit_answers_lost,
        database.postgres_killed,
        kills.worker_terminated,
        points.terminated_at_point,
        requests.cancelled,
        races.cancelled_while_reaped,
        requests.paused_and_resumed,
        requests.finished_early,
        races.reapers_and_dispatchers_race,
        late.late_reports,
        freezes.frozen_before_its_end,
        kills.poison,
        storage.storage_away,
        points.disk_full,
        storage.checkpoint_corrupted,
    )
}
