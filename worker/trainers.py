"""The worker's end of the fork server: starts trainers and learns how they ended."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import structlog

from heimdall_core.domain.errors import InfrastructureError
from worker.process_control import kill_group

#: What a trainer needs; importing it is all that the server does with it.
PRELOAD = (
    "heimdall_core.pipeline",
    "heimdall_core.catalogue.importing",
    "mlflow",
    "onnx",
    "onnxruntime",
    "sklearn.neighbors",
    "matplotlib.backends.backend_agg",
    "transformers.models.convnext.modeling_convnext",
    "transformers.models.convnextv2.modeling_convnextv2",
)
#: Exit code of a trainer whose fork server died: what it did is unknown.
SERVER_LOST = 255
_SPAWN_SECONDS = 30.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Trainer:
    """A running trainer: its pid (also its process group) and our ends of its pipes."""

    pid: int
    control: int
    events: int
    log: int
    _exit: "queue.Queue[int]" = field(default_factory=queue.Queue)
    _exit_code: int | None = None

    def exit_code(self, timeout: float = 0.0) -> int | None:
        """How it ended (negative: the signal), or None while it runs."""
        if self._exit_code is None:
            try:
                self._exit_code = self._exit.get(timeout=timeout) if timeout else self._exit.get_nowait()
            except queue.Empty:
                return None
        return self._exit_code

    def ended(self, exit_code: int) -> None:
        """Called by the fork server's reader."""
        self._exit.put(exit_code)

    def send(self, message: dict[str, object]) -> None:
        """Writes to the control pipe; a trainer that is gone does not mind."""
        try:
            os.write(self.control, json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def signal_group(self, sig: signal.Signals) -> None:
        """Signals the trainer and all its children."""
        kill_group(self.pid, sig)

    def close(self) -> None:
        """Closes our ends."""
        for descriptor in (self.control, self.events, self.log):
            os.close(descriptor)


class ForkServer:
    """Starts the server when it is needed first, and again when it has died."""

    def __init__(
        self,
        *,
        preload: tuple[str, ...] = PRELOAD,
        start_timeout_seconds: float = 120.0,
        keep_open: tuple[int, ...] = (),
    ) -> None:
        """``keep_open``: descriptors that the server inherits and holds for as long as it lives."""
        self._preload = preload
        self._start_timeout = start_timeout_seconds
        self._keep_open = keep_open
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._reader: threading.Thread | None = None
        self._ready = threading.Event()
        self._spawned: queue.Queue[int] = queue.Queue()
        self._trainers: dict[int, Trainer] = {}

    @property
    def pid(self) -> int | None:
        """The server's pid while it lives."""
        return self._process.pid if self._process and self._connection else None

    def start(self) -> None:
        """Launches the server without waiting for its imports."""
        with self._lock:
            self._ensure_started()

    def wait_ready(self, timeout: float) -> bool:
        """Whether the imports are done."""
        return self._ready.wait(timeout)

    def spawn(self) -> Trainer:
        """Forks a trainer, which waits for its start message.

        Raises:
            InfrastructureError: the server did not start or died.
        """
        with self._lock:
            self._ensure_started()
            if not self._ready.wait(self._start_timeout):
                raise InfrastructureError("the fork server did not get ready", code="fork_server_down")
            return self._request_trainer()

    def close(self) -> None:
        """Ends the server and whatever still runs under it."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection:
                connection.shutdown(socket.SHUT_RDWR)
            if self._reader:
                self._reader.join()
            if self._process:
                try:
                    self._process.wait(5)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()

    def _ensure_started(self) -> None:
        if self._connection is not None:
            return
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ready.clear()
        self._spawned = queue.Queue()
        environment = os.environ | {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "worker.fork_server", str(theirs.fileno()), *self._preload],
            pass_fds=[theirs.fileno(), *self._keep_open],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
        theirs.close()
        self._connection = ours
        self._reader = threading.Thread(
            target=self._read, args=(ours,), name="fork-server-reader", daemon=True
        )
        self._reader.start()

    def _request_trainer(self) -> Trainer:
        control_read, control_write = os.pipe()
        events_read, events_write = os.pipe()
        log_read, log_write = os.pipe()
        theirs = [control_read, events_write, log_write]
        trainer = Trainer(pid=0, control=control_write, events=events_read, log=log_read)
        try:
            assert self._connection is not None
            # Registered under 0 until the pid is known, so that an early exit cannot be missed.
            self._trainers[0] = trainer
            socket.send_fds(self._connection, [json.dumps({"spawn": 1}).encode()], theirs)
            trainer.pid = self._spawned.get(timeout=_SPAWN_SECONDS)
        except (OSError, queue.Empty, AssertionError) as error:
            self._trainers.pop(0, None)
            trainer.close()
            if self._process:
                # It may be hung: an answer that comes late would be taken for that of the next request.
                self._process.kill()
            raise InfrastructureError("the fork server died", code="fork_server_down") from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        if trainer.pid < 0:
            trainer.close()
            raise InfrastructureError("the fork server died", code="fork_server_down")
        return trainer

    def _read(self, connection: socket.socket) -> None:
        while message := self._receive(connection):
            if "ready" in message:
                _log.info("fork_server_ready", **message)
                self._ready.set()
            elif "spawned" in message:
                if trainer := self._trainers.pop(0, None):
                    self._trainers[message["pid"]] = trainer
                    self._spawned.put(message["pid"])
            elif "exited" in message and (ended := self._trainers.pop(message["exited"], None)):
                ended.ended(message["status"])
        self._lost(connection)

    @staticmethod
    def _receive(connection: socket.socket) -> dict[str, int] | None:
        try:
            raw = connection.recv(65_536)
        except OSError:
            return None
        return json.loads(raw) if raw else None

    def _lost(self, connection: socket.socket) -> None:
        if self._connection is connection:
            _log.error("fork_server_lost")
            self._connection = None
        connection.close()
        self._spawned.put(-1)
        self._ready.set()
        for trainer in list(self._trainers.values()):
            if trainer.pid:
                trainer.signal_group(signal.SIGKILL)
            trainer.ended(SERVER_LOST)
        self._trainers.clear()
