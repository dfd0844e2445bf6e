"""Finds the sessions in a set of files: by collections, by sheets, by what recordings say themselves."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from heimdall_core.recordings.collection import plan_collection
from heimdall_core.recordings.files import (
    COLLECTION,
    COMPRESSED,
    DATA,
    META,
    NPY,
    SHEET,
    FileSet,
    compressed,
    missing_meta,
)
from heimdall_core.recordings.plan import Plan
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import Source
from heimdall_core.recordings.sheet_planning import plan_sheet
from heimdall_core.recordings.single import plan_singles
from heimdall_core.recordings.statement import NO_SOURCE_HINT


def is_description(name: str) -> bool:
    """Whether the file says what other files hold, and is read before them."""
    return name.endswith((META, COLLECTION)) or PurePosixPath(name).name == SHEET


def plan_sessions(files: FileSet, *, unknown: Source | None = None) -> Iterator[Plan]:
    """The sessions of the files, and every file that belongs to none; reads only descriptions.

    Collections come first, then sheets, then single recordings, then what is left over. ``unknown`` stands
    for the source where SigMF names none; without it such recordings are refused.
    """
    claimed: dict[str, str] = {}
    for name in files:
        if name.endswith(COLLECTION):
            claimed[name] = name
            yield plan_collection(name, files, claimed, unknown=unknown)
    for name in files:
        if PurePosixPath(name).name == SHEET:
            claimed[name] = name
            yield from plan_sheet(name, files, claimed)
    metas = [name for name in files if name not in claimed and name.endswith(META)]
    claimed.update({meta: meta for meta in metas})
    yield from plan_singles(metas, files, no_source=lambda name: _no_source(name, files), unknown=unknown)
    for name in files:
        if name not in claimed and (refusal := _stray(name, files)):
            yield refusal.of(name)


def _no_source(name: str, files: FileSet) -> Refusal:
    for folder in PurePosixPath(name).parents:
        if (sheet := str(folder / SHEET)) in files:
            return Refusal("not_listed", f"is not listed in {sheet}", hint="Add a line for it.")
    return Refusal("no_source", "nothing says which source it recorded", hint=NO_SOURCE_HINT)


def _stray(name: str, files: FileSet) -> Refusal | None:
    """Why a file that nothing lists is left out; a pair is told once, by its metadata."""
    if name.endswith(DATA):
        return None if name.removesuffix(DATA) + META in files else missing_meta()
    if name.endswith(NPY):
        return _no_source(name, files)
    if name.lower().endswith(COMPRESSED):
        return compressed()
    hint = (
        f"Known: .sigmf, .sigmf-meta, -data, -collection; .npy with a {SHEET}; power tables of two CSV files."
    )
    return Refusal("not_sigmf", "is no recording that can be read", hint=hint)
