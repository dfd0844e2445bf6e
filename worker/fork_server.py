"""The warm process that trainers are forked from: ``python -m worker.fork_server FD [MODULE ...]``.

It has imported the modules, has one thread, and never touches CUDA. Over the socket FD
(``SOCK_SEQPACKET``) it takes ``{"spawn": n}`` with three descriptors (control, events, log) and answers
``{"spawned": n, "pid": ...}``, later ``{"exited": pid, "status": ...}``. When the worker's end closes,
it kills every trainer and exits.
"""

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Sequence

from worker import trainer_process
from worker.process_control import die_with_parent, kill_group

_NUM_DESCRIPTORS = 3


def main() -> None:
    """Preloads, says so, and serves until the worker is gone."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _send(connection, preload(sys.argv[2:]))
    serve(connection)


def preload(modules: Sequence[str]) -> dict[str, object]:
    """Imports what trainers need. A missing module is reported, not ignored."""
    started, missing = time.monotonic(), []
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name}: {error}")
    gc.collect()
    gc.freeze()
    return {"ready": os.getpid(), "seconds": round(time.monotonic() - started, 2), "missing": missing}


def serve(connection: socket.socket) -> None:
    """Forks on request and reports exits."""
    trainers: set[int] = set()
    wake_read, wake_write = socket.socketpair()
    wake_read.setblocking(False)
    wake_write.setblocking(False)
    signal.set_wakeup_fd(wake_write.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if wake_read in ready:
                _drain(wake_read)
                _report_exits(connection, trainers)
            if connection in ready and not _serve_request(connection, trainers):
                break
    for pid in trainers:
        kill_group(pid, signal.SIGKILL)


def _serve_request(connection: socket.socket, trainers: set[int]) -> bool:
    try:
        message, descriptors, _, _ = socket.recv_fds(connection, 65_536, _NUM_DESCRIPTORS)
    except ConnectionResetError:
        return False
    if not message:
        return False
    pid = _fork_trainer(descriptors)
    trainers.add(pid)
    _send(connection, {"spawned": json.loads(message)["spawn"], "pid": pid})
    return True


def _fork_trainer(descriptors: list[int]) -> int:
    parent = os.getpid()
    settled_read, settled_write = os.pipe()
    pid = os.fork()
    if pid:
        for descriptor in (*descriptors, settled_write):
            os.close(descriptor)
        # Not before the trainer leads its own group: a signal sent to the group must find it.
        os.read(settled_read, 1)
        os.close(settled_read)
        return pid
    code = 1
    try:
        _become_trainer(parent, descriptors)
        code = trainer_process.main(control=descriptors[0], events=descriptors[1])
    finally:
        os._exit(code)


def _become_trainer(parent: int, descriptors: list[int]) -> None:
    """Own session, own signals, no descriptor of the server's; closing them tells it that we are settled."""
    os.setsid()
    die_with_parent(parent)
    signal.set_wakeup_fd(-1)
    for sig in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(sig, signal.SIG_DFL)
    log = descriptors[2]
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    keep = sorted({0, 1, 2, *descriptors[:2]})
    for low, high in zip(keep, [*keep[1:], 65_536], strict=True):
        os.closerange(low + 1, high)


def _report_exits(connection: socket.socket, trainers: set[int]) -> None:
    for pid in list(trainers):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            trainers.discard(pid)
            kill_group(pid, signal.SIGKILL)
            _send(connection, {"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _drain(wake: socket.socket) -> None:
    try:
        while wake.recv(4096):
            pass
    except BlockingIOError:
        return


def _send(connection: socket.socket, message: dict[str, object]) -> None:
    try:
        connection.send(json.dumps(message).encode())
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    main()
