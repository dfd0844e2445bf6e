"""An import job inside its trainer: reads what is to be imported, and stores what it found."""

import json
from collections.abc import Mapping
from typing import Any

from heimdall_core.catalogue.import_journal import ImportJournal
from heimdall_core.catalogue.import_reading import UploadedFile
from heimdall_core.catalogue.import_result import REPORT_NAME, file_report, platform_file_report
from heimdall_core.catalogue.importing import import_files
from heimdall_core.catalogue.platform_reading import read_platform_recordings
from heimdall_core.catalogue.platform_report import PlatformPlan
from heimdall_core.domain.ports import Artifact, Checkpoint, ObjectStore, Reporter, StoredObject
from heimdall_core.storage.uri import join_uri

Json = dict[str, Any]


def run_import(
    inputs: Mapping[str, Any],
    *,
    store: ObjectStore,
    reporter: Reporter,
    output_uri: str,
    recordings_uri: str,
    resume_from: Checkpoint | None,
) -> Json:
    """Where the findings lie that are to be published; the report for people becomes an artifact.

    Args:
        inputs: ``files`` and ``options`` of the upload.
        store: holds what is read, and takes archives, reports and the journal.
        reporter: told of progress, checkpoints and the artifact.
        output_uri: the attempt's prefix.
        recordings_uri: where archives go.
        resume_from: the newest entry of a former attempt's journal.
    """
    journal = ImportJournal(store=store, output_uri=output_uri, reporter=reporter, former=resume_from)
    if inputs["options"].get("platform") is not None:
        plan = PlatformPlan.from_dict(inputs["options"]["platform"])
        found = read_platform_recordings(plan, store=store, reporter=reporter, journal=journal)
        findings, readable = found.to_dict(), platform_file_report(found)
    else:
        files = [_uploaded(file) for file in inputs["files"]]
        report = import_files(
            files,
            store=store,
            recordings_uri=recordings_uri,
            reporter=reporter,
            receivers=inputs["options"].get("receivers"),
            journal=journal,
        )
        findings, readable = report.to_dict(), file_report(files, report)
    stored = _put_json(store, join_uri(output_uri, REPORT_NAME), readable)
    reporter.artifact(Artifact(name=REPORT_NAME, kind="report", object=stored))
    stored = _put_json(store, join_uri(output_uri, "import-findings.json"), findings)
    return {"findings_uri": stored.uri, "findings_sha256": stored.sha256}


def _uploaded(file: Mapping[str, Any]) -> UploadedFile:
    return UploadedFile(
        name=file["name"], uri=file["uri"], num_bytes=file["num_bytes"], sha256=file.get("sha256")
    )


def _put_json(store: ObjectStore, uri: str, content: Json) -> StoredObject:
    return store.put_bytes(uri, json.dumps(content).encode(), media_type="application/json")
