"""From the trainer's pipes to rows: collects what comes in and writes it in numbered reports."""

import codecs
import json
import re
from typing import Any

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from heimdall_core.database.engine import Database
from heimdall_core.jobs.claiming import Claim
from heimdall_core.jobs.reporting import Report, write_report
from heimdall_core.telemetry import NO_SPANS
from worker.attempt_spans import AttemptSpans
from worker.process_control import boot_seconds
from worker.usage import EpochClock

#: The event with which a trainer tells that its first optimizer step is done.
FIRST_STEP = "first_step"
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_log = structlog.get_logger(__name__)


def storable(value: Any) -> Any:
    """The same value as PostgreSQL's text and jsonb can hold it: without NUL and lone surrogates."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list) else value


class TrainerReports:
    """What a trainer says, kept until it is written.

    A report that could not be written is tried again unchanged, under its number; what comes in
    meanwhile waits in the next one.
    """

    def __init__(
        self, database: Database, claim: Claim, *, log_limit_bytes: int, spans: AttemptSpans | None = None
    ) -> None:
        self._database, self._claim = database, claim
        self._spans = spans or AttemptSpans(NO_SPANS, claim)
        self._epochs = EpochClock()
        self._claimed_at = boot_seconds()
        self._log_left = log_limit_bytes
        self._open, self._sealed, self._number = Report(), Report(), 0
        self._partial_line = b""
        self._text = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._used: dict[str, int] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.result: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        self.is_urgent = False

    def take_events(self, data: bytes) -> None:
        """Bytes of the event pipe."""
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        for line in lines:
            self._take(storable(json.loads(line)))

    def take_log(self, data: bytes) -> None:
        """Bytes of stdout and stderr; beyond the limit they are dropped, with a notice."""
        if self._log_left <= 0:
            return
        self._log_left -= len(data)
        self._open.log.append(storable(self._text.decode(data)))
        if self._log_left <= 0:
            self._open.log.append("\n[log limit reached: what follows is not kept]\n")

    def add_event(self, name: str, **data: Any) -> None:
        """A line of history from the supervisor itself."""
        self._open.events.append((name, data))
        self._spans.event(name, data)
        self.is_urgent = True

    def note_usage(self, **usage: int | None) -> None:
        """What the attempt has used by now; of each figure the largest counts."""
        for name, value in usage.items():
            if value is not None and value > self._used.get(name, 0):
                self._used[name] = self._open.usage[name] = value

    def flush(self) -> bool:
        """Writes what waits; False if the database did not answer.

        Raises:
            LeaseLost: the attempt no longer holds its job.
        """
        if not self._sealed and self._open:
            self._sealed, self._open = self._open, Report()
            self._number += 1
        self.is_urgent = False
        if not self._sealed:
            return True
        try:
            with self._database.transaction() as session:
                write_report(session, self._claim, self._sealed, number=self._number)
        except (OperationalError, InterfaceError) as error:
            _log.warning("report_failed", job_id=self._claim.job_id, reason=str(error.__cause__ or error))
            return False
        except SQLAlchemyError as error:
            self._give_up(error)
        else:
            self._sealed = Report()
        return True

    def _give_up(self, error: SQLAlchemyError) -> None:
        """What the database will never take must not hold the slot: the checkpoints alone are kept."""
        reason = str(error.__cause__ or error)
        _log.error("report_refused", job_id=self._claim.job_id, reason=reason)
        self._open.checkpoints[:0] = self._sealed.checkpoints
        self._open.events.append(("report_refused", {"reason": storable(reason)}))
        self._sealed = Report()

    def _take(self, message: dict[str, Any]) -> None:
        handler = getattr(self, f"_on_{message.pop('type')}")
        handler(**message)

    def _on_phase(self, phase: str, at: float) -> None:
        self._open.phase = phase
        self._spans.phase(phase, at=at)
        if (seconds := self._epochs.phase(phase, at)) is not None:
            self._open.usage["seconds_per_epoch"] = seconds
        self.add_event("job.phase", phase=phase)

    def _on_progress(self, progress: dict[str, Any]) -> None:
        self._open.progress = progress
        self._epochs.progress(progress.get("epoch"))

    def _on_metrics(self, values: dict[str, float], step: int, epoch: int) -> None:
        for name, value in values.items():
            self._open.points[name, step] = (epoch, value)

    def _on_event(self, name: str, data: dict[str, Any]) -> None:
        if name == FIRST_STEP and self._claim.attempt == 1:
            waited = self._claim.waited_seconds + boot_seconds() - self._claimed_at
            data = data | {"seconds_since_submit": round(waited, 3)}
        self.add_event(name, **data)

    def _on_checkpoint(self, **checkpoint: Any) -> None:
        self._open.checkpoints.append(checkpoint)
        self.add_event("checkpoint.durable", epoch=checkpoint["epoch"], step=checkpoint["step"])

    def _on_artifact(self, artifact: dict[str, Any]) -> None:
        self.artifacts.append(artifact)

    def _on_usage(self, **usage: int) -> None:
        self.note_usage(**usage)

    def _on_result(self, result: dict[str, Any]) -> None:
        self.result = result

    def _on_error(self, error: dict[str, Any]) -> None:
        self.error = error

    def _on_stopped(self, request: str) -> None:
        self.add_event("trainer.stopped", request=request)
