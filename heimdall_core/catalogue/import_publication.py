"""From an import's findings to what is done with them in the transaction of its job's success."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.catalogue.import_report import ImportReport
from heimdall_core.catalogue.platform_publishing import publish_platform_import
from heimdall_core.catalogue.platform_report import PlatformPlan, PlatformReport
from heimdall_core.catalogue.publishing import publish_import
from heimdall_core.database.job_tables import Job

Publish = Callable[[Session, Job], dict[str, Any]]


def prepare_import(options: Mapping[str, Any], findings: Mapping[str, Any]) -> Publish:
    """The publication of findings, of files or of the platform's recordings."""
    if options.get("platform") is not None:
        plan = PlatformPlan.from_dict(options["platform"])
        found = PlatformReport.from_dict(findings)
        return lambda session, job: publish_platform_import(session, plan, found, job_id=job.id)
    report = ImportReport.from_dict(findings)
    auto_approve = bool(options.get("auto_approve"))
    return lambda session, job: publish_import(session, report, job_id=job.id, auto_approve=auto_approve)
