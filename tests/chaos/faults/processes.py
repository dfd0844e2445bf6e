"""What state a process is in."""

from pathlib import Path

from heimdall_core.embedded.identity import identify


def is_frozen(pid: int) -> bool:
    """Another fault has stopped it: it dies when it is thawed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except OSError:
        return False


def is_running(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    return identify(pid) is not None
