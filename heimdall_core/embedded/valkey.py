"""Valkey, which speaks Redis, as a supervised child."""

from collections.abc import Mapping
from dataclasses import dataclass

from heimdall_core.embedded.home import Home, write_private
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.program import ProgramSpec, exchange
from heimdall_core.embedded.programs import valkey_program


@dataclass(frozen=True, slots=True, kw_only=True)
class ValkeyEngine:
    """The broker: append-only file synced each second, nothing evicted, a password."""

    home: Home
    port: int
    password: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings by which the services find it."""
        return {"HEIMDALL_REDIS__URL": f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"}

    def prepare(self) -> ProgramSpec:
        """Writes its configuration, which keeps the password off the command line."""
        configuration = self.home.folder("run") / "valkey.conf"
        write_private(configuration, self._configuration())
        return ProgramSpec(
            name="valkey",
            argv=(str(valkey_program()), str(configuration)),
            cwd=self.home.folder("valkey"),
            port=self.port,
            url=f"redis://{LOOPBACK}:{self.port}/0",
            is_ready=self._answers,
        )

    def initialise(self) -> None:
        """Needs nothing."""

    def _configuration(self) -> str:
        lines = (
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.home.folder("valkey")}"',
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            'save ""',
        )
        return "\n".join(lines) + "\n"

    def _answers(self) -> bool:
        request = f"AUTH {self.password}\r\nPING\r\n".encode()
        return exchange(self.port, request, enough=b"+PONG")
