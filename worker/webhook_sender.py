"""Sends webhooks from threads of its own: a receiver that takes its time holds up no other upkeep."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import structlog
from sqlalchemy.exc import DBAPIError

from heimdall_core.database.engine import Database
from heimdall_core.domain.errors import InfrastructureError
from heimdall_core.notifications.deliveries import ClaimedDelivery, claim_due, seconds_until_due, settle
from heimdall_core.notifications.fan_out import make_deliveries
from heimdall_core.notifications.listening import Listener, Waker, listening
from heimdall_core.notifications.secrets import SecretBox
from heimdall_core.notifications.sending import Outcome, post
from heimdall_core.notifications.signing import signed_headers
from heimdall_core.settings import WebhookSettings

_log = structlog.get_logger(__name__)
#: Without a notification it looks so often all the same.
_IDLE_SECONDS = 15.0
_SHORTEST_SECONDS = 0.2
_RETRY_SECONDS = 2.0
#: Of one endpoint at a time: a slow receiver leaves senders for the others.
_PER_ENDPOINT = 2


class WebhookSender:
    """Makes deliveries of events as they are committed, and sends what is due."""

    def __init__(self, database: Database, settings: WebhookSettings) -> None:
        self._database, self._settings = database, settings
        self._secrets = SecretBox(settings.secret_key)
        self._waker = Waker()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._in_flight: Counter[str] = Counter()
        self._of_owners: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(settings.senders, thread_name_prefix="webhook")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends; what was being sent is settled, what was only claimed is sent after its lease."""
        self._closing.set()
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(cancel_futures=True)
        self._waker.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                with listening(self._database, self._waker) as listener:
                    self._work(listener)
            except (DBAPIError, psycopg.Error) as error:
                _log.warning("webhooks_interrupted", reason=str(getattr(error, "orig", None) or error))
                self._closing.wait(_RETRY_SECONDS)
            except Exception:  # noqa: BLE001 - whatever it is: without this thread nothing is sent
                _log.exception("webhooks_failed")
                self._closing.wait(_RETRY_SECONDS)

    def _work(self, listener: Listener) -> None:
        while not self._closing.is_set():
            self._make_deliveries()
            self._send_due()
            listener.wait(self._pause())

    def _make_deliveries(self) -> None:
        more = True
        while more and not self._closing.is_set():
            with self._database.transaction() as session:
                more = make_deliveries(session)

    def _send_due(self) -> None:
        room = self._settings.senders - self._num_in_flight()
        if room <= 0:
            return
        with self._database.transaction() as session:
            claimed = claim_due(
                session,
                limit=room,
                per_endpoint=_PER_ENDPOINT,
                busy=self._busy(),
                in_flight=self._num_of_owners(),
            )
        for delivery in claimed:
            self._count(delivery, 1)
            self._pool.submit(self._send, delivery)

    def _pause(self) -> float:
        """Until something is due; one whose endpoint is busy is looked at when a sender is free again."""
        with self._database.transaction() as session:
            seconds = seconds_until_due(session)
        if seconds is None or (seconds == 0 and self._num_in_flight()):
            return _IDLE_SECONDS
        return min(max(seconds, _SHORTEST_SECONDS), _IDLE_SECONDS)

    def _send(self, delivery: ClaimedDelivery) -> None:
        try:
            outcome = self._attempt(delivery)
            with self._database.transaction() as session:
                settle(session, delivery, outcome)
            _tell(delivery, outcome)
        except Exception:  # noqa: BLE001 - its lease ends, and it is sent again
            _log.exception("webhook_not_settled", delivery_id=delivery.id)
        finally:
            self._count(delivery, -1)
            self._waker.wake()

    def _attempt(self, delivery: ClaimedDelivery) -> Outcome:
        body = delivery.body.encode()
        try:
            secrets = [self._secrets.unseal(secret) for secret in delivery.secrets]
        except InfrastructureError as error:
            return Outcome(status_code=None, error=error.message, duration_ms=0.0)
        headers = signed_headers(delivery.message_id, body, secrets=secrets, at=datetime.now(UTC))
        return post(delivery.url, body, headers, self._settings)

    def _count(self, delivery: ClaimedDelivery, change: int) -> None:
        with self._lock:
            self._in_flight[delivery.endpoint_id] += change
            self._of_owners[delivery.owner] += change

    def _num_of_owners(self) -> dict[str, int]:
        """Of those that have any."""
        with self._lock:
            self._of_owners = +self._of_owners
            self._in_flight = +self._in_flight
            return dict(self._of_owners)

    def _num_in_flight(self) -> int:
        with self._lock:
            return self._in_flight.total()

    def _busy(self) -> list[str]:
        with self._lock:
            return [endpoint for endpoint, count in self._in_flight.items() if count >= _PER_ENDPOINT]


def _tell(delivery: ClaimedDelivery, outcome: Outcome) -> None:
    write = _log.info if outcome.is_taken else _log.warning
    write(
        "webhook_sent",
        endpoint_id=delivery.endpoint_id,
        delivery_id=delivery.id,
        attempt=delivery.number,
        status=outcome.status_code,
        error=outcome.error,
        duration_ms=outcome.duration_ms,
    )
