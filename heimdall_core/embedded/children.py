"""Running children: started, watched, restarted with back-off, stopped with their whole group."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heimdall_core.embedded.errors import ProcessFailed
from heimdall_core.embedded.home import ProcessState
from heimdall_core.embedded.identity import ProcessIdentity, end_group, identify, wait_until
from heimdall_core.embedded.ports import listens_in_group
from heimdall_core.embedded.program import ProgramSpec, launch_command

MAX_LOG_BYTES = 10_000_000
SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
#: After so long without dying a child's next restart is quick again.
STEADY_SECONDS = 60.0


@dataclass(slots=True)
class Child:
    """One supervised child and its history."""

    spec: ProgramSpec
    environment: Mapping[str, str]
    log: Path
    restarts: int = 0
    is_ready: bool = False
    _process: subprocess.Popen[bytes] | None = None
    _identity: ProcessIdentity | None = None
    _started_at: float = 0.0
    _log_start: int = 0
    _pause_seconds: float = SHORTEST_PAUSE_SECONDS
    _restart_at: float | None = None

    def start(self) -> None:
        """Starts the program in a session of its own; it ends when this process ends."""
        rotate(self.log)
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                launch_command(
                    self.spec.argv,
                    user=self.spec.user,
                    cwd=self.spec.cwd,
                    death_signal=self.spec.stop_signal,
                ),
                env={**self.environment, **self.spec.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._identity = identify(self._process.pid)
        self._started_at = time.monotonic()
        self._restart_at = None
        self.is_ready = False

    @property
    def exit_code(self) -> int | None:
        """How the program ended, or None while it runs."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def wait_ready(self) -> None:
        """Waits until the program works.

        Raises:
            ProcessFailed: it ended, or the time is over; with the end of its log.
        """
        wait_until(lambda: not self.is_running or self.ask_ready(), seconds=self.spec.ready_seconds)
        if self.is_ready:
            return
        how = (
            f"ended with exit status {self.exit_code}"
            if not self.is_running
            else f"is not ready after {self.spec.ready_seconds:.0f} s"
        )
        raise ProcessFailed(
            f"{self.spec.name} {how}; the end of its log:\n{self.last_lines()}", hint=f"see {self.log}"
        )

    def ask_ready(self) -> bool:
        """Asks the program once, unless it is known to work."""
        if not self.is_ready:
            self.is_ready = self.spec.is_ready is None or (self.spec.is_ready() and self._is_answering())
        return self.is_ready

    def _is_answering(self) -> bool:
        """Whether it was this program that answered, and not a stranger on its port."""
        if self.spec.port is None or self._process is None:
            return True
        return listens_in_group(self._process.pid, self.spec.port)

    def last_lines(self, count: int = 12) -> str:
        """The end of what this run of the program wrote."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read()[-20_000:].decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-count:]) or "    (it wrote nothing)"

    def revive(self) -> str | None:
        """Restarts the program if it has died and its pause is over; returns a line worth telling."""
        if self._process is None or self.is_running:
            return None
        if self._restart_at is None:
            return self._plan_restart()
        if time.monotonic() < self._restart_at:
            return None
        self.restarts += 1
        self.start()
        return None

    def _plan_restart(self) -> str:
        assert self._process is not None
        end_group(self._process.pid, signal.SIGKILL)
        ran_seconds = time.monotonic() - self._started_at
        if ran_seconds > STEADY_SECONDS:
            self._pause_seconds = SHORTEST_PAUSE_SECONDS
        pause = self._pause_seconds
        self._restart_at = time.monotonic() + pause
        self._pause_seconds = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self.is_ready = False
        return (
            f"{self.spec.name} ended with exit status {self.exit_code} after {ran_seconds:.0f} s; "
            f"restarting in {pause:.1f} s (log: {self.log})"
        )

    def ask_to_stop(self) -> None:
        """Sends its stop signal to the program itself, not to its children."""
        if self._process is not None and self.is_running:
            self._process.send_signal(self.spec.stop_signal)

    def wait_stopped(self) -> None:
        """Waits for the end, killing what is left of the group when the time is over."""
        if self._process is None:
            return
        try:
            self._process.wait(self.spec.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        end_group(self._process.pid, signal.SIGKILL)
        self._process = None
        self.is_ready = False

    def kill(self) -> None:
        """Kills the whole process group at once."""
        if self._process is not None:
            end_group(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def state(self) -> ProcessState:
        """Its line of ``heimdall status``."""
        return ProcessState(
            name=self.spec.name,
            state=self._word(),
            identity=self._identity if self.is_running else None,
            port=self.spec.port,
            url=self.spec.url,
            restarts=self.restarts,
            log=str(self.log),
        )

    def _word(self) -> str:
        if self._process is None:
            return "stopped"
        if not self.is_running:
            return "restarting"
        if self.is_ready:
            return "running" if self.spec.is_ready is None else "ready"
        return "starting"


def rotate(log: Path, limit: int = MAX_LOG_BYTES) -> None:
    """Puts a log that has grown beyond ``limit`` aside, as ``<name>.log.1``."""
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_suffix(".log.1"))


@dataclass(slots=True)
class Children:
    """All children of a stack in the order in which they were started."""

    members: list[Child] = field(default_factory=list)

    def stop(self, names: Sequence[str]) -> None:
        """Asks the named children to stop, in this order, and waits until all of them have."""
        chosen = [child for name in names for child in self.members if child.spec.name == name]
        for child in chosen:
            child.ask_to_stop()
        for child in chosen:
            child.wait_stopped()

    def kill(self) -> None:
        """Ends everything at once."""
        for child in self.members:
            child.kill()

    def states(self) -> tuple[ProcessState, ...]:
        """The lines of ``heimdall status``."""
        return tuple(child.state() for child in self.members)
