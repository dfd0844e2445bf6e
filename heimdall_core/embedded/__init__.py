"""The engines that production runs, started from PyPI wheels on one machine, without Docker or root."""

from heimdall_core.embedded.errors import EmbeddedError
from heimdall_core.embedded.stack import EmbeddedStack

__all__ = ["EmbeddedError", "EmbeddedStack"]
