"""How a command ends that an exception ends: readable lines on stderr and an exit code."""

import os
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from heimdall_core.cli.errors import ExitCode, exit_code_of
from heimdall_core.cli.output import show_error
from heimdall_core.domain.errors import HeimdallError
from heimdall_core.embedded.home import default_home

DEBUG_VARIABLE = "HEIMDALL_DEBUG"


def report_failure(error: BaseException) -> ExitCode:
    """Tells what went wrong; returns the exit code."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    told = _readable(error)
    if told is None:
        _report_bug(error)
        return ExitCode.FAILED
    show_error(told)
    if _wants_traceback():
        traceback.print_exception(error)
    return exit_code_of(told)


def _readable(error: BaseException) -> HeimdallError | None:
    """The error in words, or None where it is a mistake of this program."""
    if isinstance(error, HeimdallError):
        return error
    if type(error).__module__.startswith("pydantic"):
        return _settings_error(error)
    return None


def _settings_error(error: BaseException) -> HeimdallError | None:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from heimdall_core.cli.settings_problems import unusable

    if isinstance(error, SettingsError):
        return unusable(error)
    if isinstance(error, ValidationError) and error.title == "Settings":
        return unusable(error)
    return None


def _wants_traceback() -> bool:
    return os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}


def _report_bug(error: BaseException) -> None:
    if _wants_traceback():
        traceback.print_exception(error)
        return
    summary = " ".join(f"{type(error).__name__}: {error}".split())
    show_error(
        HeimdallError(
            f"unexpected {summary}",
            hint=f"the traceback is in {_write_traceback(error)}; {DEBUG_VARIABLE}=1 shows it here",
        )
    )


def _write_traceback(error: BaseException) -> Path:
    """Keeps the traceback beside the local logs, else in a temporary folder; for its owner's eyes."""
    command = " ".join(sys.argv[1:2])
    head = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} heimdall {command}\n"
    for folder in (default_home() / "logs", Path(tempfile.gettempdir())):
        try:
            descriptor, name = tempfile.mkstemp(prefix="heimdall-crash-", suffix=".txt", dir=folder)
        except OSError:
            continue
        with os.fdopen(descriptor, "w") as file:
            file.write(head + "".join(traceback.format_exception(error)))
        return Path(name)
    return Path(os.devnull)
