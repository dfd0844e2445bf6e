"""Why an export fails."""

from heimdall_core.domain.errors import DataError


class ExportError(DataError):
    """The exported graph is invalid, disagrees with the network, or is worse than its budget allows."""

    code = "export_failed"
