"""What runs in a trainer: waits for the start message, does the job, reports over its pipe.

Exit codes: 0 with a ``result`` message: done. 75 (``EX_TEMPFAIL``): stopped on request, checkpointed.
1 with an ``error`` message: failed. Anything else: it crashed.
"""

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from heimdall_core import logs
from heimdall_core.domain.errors import ErrorCategory, ErrorInfo, HeimdallError
from heimdall_core.domain.ports import JobStopped, StopRequest
from heimdall_core.domain.tracing import read_trace
from worker.pipe_reporter import PipeReporter
from worker.process_control import boot_seconds
from worker.usage import used_memory

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_STOPPED = 75
_WATCH_SECONDS = 1.0
_log = structlog.get_logger(__name__)
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def main(*, control: int, events: int) -> int:
    """Runs one job; returns the exit code."""
    lines = os.fdopen(control, "rb", buffering=0)
    first = _read_line(lines.fileno())
    if not first:
        return EXIT_FAILED
    start = json.loads(first)
    if start.get("devices") is not None:
        # Before torch looks for the first time: the server never touched CUDA.
        os.environ["CUDA_VISIBLE_DEVICES"] = start["devices"]
    logs.configure("console")
    join_trace(start)
    reporter = PipeReporter(events)
    signal.signal(signal.SIGTERM, _stop_now)
    _watch_supervisor(lines.fileno(), reporter, alive_until=start["alive_until"])
    exit_code = run(start, reporter)
    reporter.send("usage", **used_memory())
    return exit_code


def join_trace(start: Mapping[str, Any]) -> None:
    """Makes what this process does part of the job's trace: its log lines, and what reads ``TRACEPARENT``.

    The variables are those in which OpenTelemetry hands a trace to a process.
    """
    trace = read_trace(start.get("traceparent"), start.get("tracestate"))
    names = {"job_id": start.get("job_id"), "attempt": start.get("attempt")}
    structlog.contextvars.bind_contextvars(**names)
    for variable in ("TRACEPARENT", "TRACESTATE"):
        os.environ.pop(variable, None)
    if trace is not None:
        structlog.contextvars.bind_contextvars(trace_id=trace.trace_id)
        os.environ["TRACEPARENT"] = trace.traceparent
        if trace.state:
            os.environ["TRACESTATE"] = trace.state


def run(start: dict[str, Any], reporter: PipeReporter) -> int:
    """Does the job of a start message and reports how it ended."""
    from worker.job_kinds import run_job

    try:
        result = run_job(start, reporter)
    except JobStopped as stopped:
        _log.info("stopped", request=stopped.request)
        reporter.send("stopped", request=stopped.request)
        return EXIT_STOPPED
    except BaseException as error:  # noqa: BLE001 - the last place that can say why
        traceback.print_exc()
        found = classify(error).to_dict()
        _log.error("failed", **found)
        sys.stderr.flush()
        reporter.send("error", error=found)
        return EXIT_FAILED
    reporter.send("result", result=result)
    return EXIT_DONE


def classify(error: BaseException) -> ErrorInfo:
    """Who can do something about it."""
    if isinstance(error, HeimdallError):
        return error.to_info()
    if is_out_of_memory(error):
        return out_of_memory(str(error))
    if isinstance(error, OSError) and error.errno is not None:
        usage = shutil.disk_usage(Path.cwd())
        return ErrorInfo(
            code="os_error",
            category=ErrorCategory.INFRA,
            message=str(error),
            retryable=True,
            hint=f"The worker's disk has {usage.free // 2**20} MiB free.",
        )
    return ErrorInfo(
        code="internal_error",
        category=ErrorCategory.BUG,
        message=f"{type(error).__name__}: {error}",
        hint="The job's log has the traceback.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of the host or of the accelerator: torch has no one class for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def out_of_memory(message: str) -> ErrorInfo:
    """The error of an attempt that ran out of memory."""
    return ErrorInfo(
        code="out_of_memory",
        category=ErrorCategory.OOM,
        message=message or "out of memory",
        hint="Lower training.batch_size and raise training.accumulate_grad_batches to match.",
    )


def _watch_supervisor(control: int, reporter: PipeReporter, *, alive_until: float) -> None:
    arguments = (control, reporter, alive_until)
    threading.Thread(target=_watch, args=arguments, name="supervisor-watch", daemon=True).start()


def _watch(control: int, reporter: PipeReporter, alive_until: float) -> None:
    """Takes requests to stop; ends the process when the supervisor is gone, or at ``alive_until``.

    That moment, by the clock since boot, lies before the end of the lease. Each message that brings a later
    one was sent after a good heartbeat; one that lay in the pipe while we were frozen brings none.
    """
    import select

    poll = select.poll()
    poll.register(control, select.POLLIN | select.POLLHUP)
    while (left := alive_until - boot_seconds()) > 0:
        if poll.poll(min(_WATCH_SECONDS, left) * 1000):
            line = _read_line(control)
            if not line:
                os._exit(EXIT_STOPPED)
            message = json.loads(line)
            alive_until = message.get("alive_until", alive_until)
            if request := message.get("stop"):
                reporter.request_stop(request)
            if message.get("finish"):
                reporter.request_finish()
    os._exit(EXIT_STOPPED)


def _read_line(descriptor: int) -> bytes:
    """One line, byte by byte: nothing of the next one may be swallowed. Empty at the end of the pipe."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            return b""
        line += byte
    return bytes(line)


def _stop_now(_signal: int, _frame: FrameType | None) -> None:
    request: StopRequest = "shutdown"
    raise JobStopped(request)
