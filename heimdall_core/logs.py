"""Logging set-up of every process: structlog, snake_case events, no secrets."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

_SECRET_NAME = re.compile(r"authorization|cookie|password|secret|token|api_?key|credential", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"hmd_[A-Za-z0-9_-]{8,}"
    r"|whsec_[A-Za-z0-9+/=_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"  # a JSON web token
    r"|(?<=://)[^/\s@]*:[^\s@]+(?=@)"
    r"|(?<=bearer )\S{8,}"
    r"|(?<=signature=)[^&\s\"']+|(?<=x-amz-security-token=)[^&\s\"']+",
    re.IGNORECASE,
)
_HIDDEN = "***"


def configure(log_format: str, *, level: int = logging.INFO) -> None:
    """Sends our events and the standard library's to standard error, as ``console`` or ``json`` lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_renderers(log_format))
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _take_over("uvicorn", "uvicorn.error")
    # Every request has a line of ours; uvicorn's would tell its query, unredacted.
    logging.getLogger("uvicorn.access").disabled = True


def _take_over(*names: str) -> None:
    """Lets loggers that brought their own handlers write as all others do."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def _renderers(log_format: str) -> list[structlog.typing.Processor]:
    if log_format == "json":
        renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        renderer,
    ]


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hides values whose name or form says that they are secret."""
    for name, value in event.items():
        event[name] = _HIDDEN if _SECRET_NAME.search(name) else _redacted(value)
    return event


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return _SECRET_VALUE.sub(_HIDDEN, value)
    if isinstance(value, Mapping):
        return {k: _HIDDEN if _SECRET_NAME.search(str(k)) else _redacted(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(v) for v in value]
    return value
