"""What can keep the embedded engines from running, in words that say what to do.

EmbeddedError
├── AlreadyRunning    another ``heimdall up`` holds this state directory
├── PortTaken         another program listens there
├── ProgramMissing    neither a wheel nor PATH has the program
└── ProcessFailed     a child ended, or did not become ready
"""

from heimdall_core.domain.errors import InfrastructureError


class EmbeddedError(InfrastructureError):
    """The embedded engines cannot run here."""

    code = "embedded_engines"


class AlreadyRunning(EmbeddedError):
    """Another ``heimdall up`` holds this state directory."""

    code = "already_running"


class PortTaken(EmbeddedError):
    """Another program listens on the port."""

    code = "port_taken"


class ProgramMissing(EmbeddedError):
    """Neither a wheel nor PATH has the program."""

    code = "program_missing"


class ProcessFailed(EmbeddedError):
    """A child ended too early, or did not become ready in time."""

    code = "process_failed"
