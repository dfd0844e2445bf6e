"""What is installed: the source of this package, its commit, and the versions of everything."""

import hashlib
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import heimdall_core

LOCK_FILE = "requirements.lock"
DETERMINING = frozenset(
    {"domain", "evaluation", "features", "networks", "pipeline", "recordings", "training"}
)
"""Parts of ``heimdall_core`` that decide the numbers of a training; the others carry them about."""

_OWN = ("heimdall_training-", "heimdall_training.")
_METADATA_FOLDERS = ("*.dist-info", "*.egg-info")


@cache
def describe_code() -> dict[str, Any]:
    """The version of the package, digests of its installed source, and the commit of a checkout."""
    root = _package()
    parts = source_digests(root)
    return {
        "version": _own_version(),
        "source_sha256": _sha256(f"{name} {digest}" for name, digest in parts.items()),
        "parts": parts,
        "git_commit": git_commit(root.parent),
    }


@cache
def describe_lock() -> dict[str, str]:
    """SHA-256 of ``requirements.lock`` beside a checkout; where there is none, of what is installed."""
    lock = _package().parent / LOCK_FILE
    if lock.is_file():
        return {"of": LOCK_FILE, "sha256": hashlib.sha256(lock.read_bytes()).hexdigest()}
    return {"of": "installed distributions", "sha256": installed_sha256()}


@cache
def installed_sha256() -> str:
    """SHA-256 of the sorted names and versions of all distributions but this one that can be imported.

    This one is described by its source; whether its metadata is found depends on the working directory.
    """
    folders = (Path(entry) for entry in sys.path if entry)
    found = {path.name for folder in folders for kind in _METADATA_FOLDERS for path in folder.glob(kind)}
    return _sha256(sorted(name for name in found if not name.startswith(_OWN)))


def source_digests(package: Path) -> dict[str, str]:
    """SHA-256 of the Python files of each part of a package, a module or a folder, by its name."""
    parts: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*.py")):
        parts.setdefault(path.relative_to(package).parts[0].removesuffix(".py"), []).append(path)
    return {name: _sha256(_lines(package, paths)) for name, paths in sorted(parts.items())}


def git_commit(checkout: Path) -> str | None:
    """The commit that is checked out, as git's files name it; None where there is no checkout."""
    folder = checkout / ".git"
    try:
        head = (folder / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        return head if name == head else _resolve(folder, name)
    except OSError:
        return None


def _resolve(folder: Path, name: str) -> str | None:
    loose = folder / name
    if loose.is_file():
        return loose.read_text().strip()
    packed = (line.split(" ", 1) for line in (folder / "packed-refs").read_text().splitlines())
    return next((fields[0] for fields in packed if fields[1:] == [name]), None)


def changed_parts(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of parts that were added, taken away or changed."""
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _package() -> Path:
    return Path(heimdall_core.__file__ or "").parent


def _own_version() -> str | None:
    try:
        return version("heimdall-training")
    except PackageNotFoundError:
        return None


def _lines(package: Path, paths: Iterable[Path]) -> Iterable[str]:
    for path in paths:
        yield f"{path.relative_to(package).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
