"""The result of an import in its job's row, and the full report that can be downloaded."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Final

from heimdall_core.catalogue.import_reading import UploadedFile
from heimdall_core.catalogue.import_report import ImportReport
from heimdall_core.catalogue.platform_report import PlatformReport
from heimdall_core.recordings.refusal import RefusedFile

REPORT_NAME: Final = "import-report.json"
MAX_LISTED: Final = 1000
"""Refusals in the row of the job; the report has all."""

Line = dict[str, Any]


def result_of(
    *,
    accepted: int,
    session_count: int,
    duplicates: int,
    refused: Sequence[RefusedFile],
    warnings: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """What the job's row keeps of an import."""
    left_out = len(refused) - MAX_LISTED
    cut = [_cut_warning(left_out)] if left_out > 0 else []
    return {
        "accepted": accepted,
        "session_count": session_count,
        "duplicates": duplicates,
        "refused": [asdict(one) for one in refused[:MAX_LISTED]],
        "refused_count": len(refused),
        "warnings": [*warnings, *cut],
    }


def _cut_warning(num_left_out: int) -> dict[str, Any]:
    return {
        "code": "refusals_truncated",
        "message": f"{num_left_out} more refusals are not listed here",
        "hint": f"The job's artifact {REPORT_NAME} has all of them.",
    }


def file_report(files: Sequence[UploadedFile], report: ImportReport) -> dict[str, Any]:
    """A line for every file, row or session: accepted, duplicate, refused, or part of another line."""
    lines = _upload_lines(report)
    told = {line["file"] for line in lines}
    parts = [{"file": file.name, "status": "part"} for file in files if file.name not in told]
    return {"counts": report.counts() | {"files": len(files)}, "files": lines + parts}


def platform_file_report(report: PlatformReport) -> dict[str, Any]:
    """A line for every object of the platform."""
    accepted = [
        {
            "file": one.recording.name,
            "status": "accepted",
            "session": one.recording.session_name,
            "session_id": one.recording.session_id,
            "receiver": one.recording.receiver,
            "sha256": one.sha256,
            "snr_db": one.snr_db,
        }
        for one in report.described
    ]
    refused = _refused_lines(report.refused)
    return {
        "counts": {"accepted": len(accepted), "refused": len(refused)},
        "files": accepted + refused,
    }


def _upload_lines(report: ImportReport) -> list[Line]:
    sessions: dict[str, Line] = {}
    for session in report.sessions:
        line = sessions.setdefault(session.file, {"file": session.file, "status": "accepted", "sessions": []})
        line["sessions"].append({"name": session.name, "sha256": session.sha256})
    duplicates = [
        {"file": one.file, "status": "duplicate", "session": one.name, "same_as": one.same_as}
        for one in report.duplicates
    ]
    return [*sessions.values(), *duplicates, *_refused_lines(report.refused)]


def _refused_lines(refused: Iterable[RefusedFile]) -> list[Line]:
    return [
        {
            "file": one.name,
            "status": "refused",
            "code": one.code,
            "message": one.message,
            "hint": one.hint,
        }
        for one in refused
    ]
