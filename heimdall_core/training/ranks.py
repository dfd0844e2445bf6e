"""The processes of a training on several devices of one host: rank 0 leads, the others follow it.

Rank 0 is the process that was there before: it alone reports, validates, writes checkpoints and decides when
to stop. The others are forked from it before torch has started a thread or touched CUDA, stay in its process
group, hold nothing that has to be saved, and are killed whenever rank 0 leaves the training early.
"""

import ctypes
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, NoReturn

import torch

from heimdall_core.domain.errors import HeimdallError, InfrastructureError
from heimdall_core.training.sampling import Share

#: Exit code of rank 0 where a rank was lost while the device held the process in a call that never returns.
EXIT_RANK_LOST = 76
_END_SECONDS = 10.0
_NOTICE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_HANG_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1
_READY = b"ready"
_DONE = b"done"


class Dismissed(Exception):
    """Rank 0 needs this rank no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A follower's end: which rank it is, where its orders come from and where it meets the others."""

    share: Share
    rendezvous: Path
    _orders: Connection
    _outcome: Connection

    def await_orders(self) -> Any:
        """What rank 0 passed to ``Ranks.order``; Dismissed if it left without."""
        try:
            return self._orders.recv()
        except EOFError as error:
            raise Dismissed from error

    def ready(self) -> None:
        """Tells rank 0 that there is nothing left to do but to meet."""
        self._outcome.send_bytes(_READY)

    def end(self, said: bytes) -> None:
        """The last word: that all went well, or the error."""
        self._outcome.send_bytes(said)


Follow = Callable[[Seat], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Follower:
    pid: int
    rank: int
    orders: Connection
    outcome: Connection
    ready: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


class Ranks:
    """Rank 0's end. With one rank there is nobody to lead, and every call does nothing."""

    def __init__(self, followers: Sequence[_Follower], rendezvous: Path) -> None:
        self._followers = tuple(followers)
        self.rendezvous = rendezvous
        self.share = Share(0, 1 + len(followers))
        #: Whether a device call may never return once a rank is lost: true of CUDA.
        self.can_hang = False
        self._losses: dict[int, BaseException] = {}
        self._lost = threading.Event()
        self._is_closed = threading.Event()
        self._watch = threading.Thread(target=self._watch_followers, name="rank-watch", daemon=True)
        if self._followers:
            self._watch.start()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the followers."""
        return tuple(follower.pid for follower in self._followers)

    def order(self, orders: Any) -> None:
        """Sends every follower what it needs to take part, and waits until each is ready.

        Raises:
            BaseException: what a follower raised instead, or that it died.
        """
        for follower in self._followers:
            follower.orders.send(orders)
        for follower in self._followers:
            while not follower.ready.wait(_POLL_SECONDS):
                if self._lost.is_set():
                    raise next(iter(self._losses.values()))

    def await_end(self) -> None:
        """Waits until the followers, told that the training is over, are gone; then kills what is left."""
        deadline = time.monotonic() + _END_SECONDS
        for follower in self._followers:
            follower.ended.wait(max(0.0, deadline - time.monotonic()))
        self.close()

    def explain(self) -> BaseException | None:
        """Why the training cannot go on if that is because of a rank, else None."""
        deadline = time.monotonic() + _NOTICE_SECONDS
        while self._followers and time.monotonic() < deadline:
            if causes := [loss for loss in list(self._losses.values()) if not _is_consequence(loss)]:
                return causes[0]
            time.sleep(_POLL_SECONDS)
        return None

    def close(self) -> None:
        """Ends every follower at once: none holds anything that is to be kept."""
        self._is_closed.set()
        for follower in self._followers:
            if not follower.ended.is_set():
                with suppress(ProcessLookupError):
                    os.kill(follower.pid, signal.SIGKILL)
        if self._followers:
            self._watch.join(_END_SECONDS)

    def _watch_followers(self) -> None:
        waiting = {follower.outcome: follower for follower in self._followers}
        while waiting:
            for pipe in wait(list(waiting)):
                assert isinstance(pipe, Connection)
                follower = waiting[pipe]
                said = _receive(pipe)
                if said == _READY:
                    follower.ready.set()
                    continue
                del waiting[pipe]
                self._take_end(follower, said)

    def _take_end(self, follower: _Follower, said: bytes) -> None:
        _, status = os.waitpid(follower.pid, 0)
        follower.ended.set()
        follower.outcome.close()
        follower.orders.close()
        if said != _DONE and not self._is_closed.is_set():
            self._losses[follower.rank] = _loss(follower.rank, said, os.waitstatus_to_exitcode(status))
            self._lost.set()
            if self.can_hang:
                threading.Thread(target=self._leave_if_hung, daemon=True).start()

    def _leave_if_hung(self) -> None:
        if not self._is_closed.wait(_HANG_SECONDS):
            reasons = "; ".join(str(loss) for loss in self._losses.values())
            os.write(2, f"rank 0 waits in vain for the device: {reasons}\n".encode())
            os._exit(EXIT_RANK_LOST)


@contextmanager
def ranks_of(num_ranks: int, folder: Path, follow: Follow) -> Iterator[Ranks]:
    """Forks the other ranks, each of which calls ``follow`` and ends; none is left when this returns.

    Raises:
        InfrastructureError: a rank died (``rank_lost``).
        BaseException: what a rank raised, where that is why the training could not go on.
    """
    # Not one that an attempt before left in the same folder.
    rendezvous = folder / f"ranks-{os.getpid()}-{time.monotonic_ns()}"
    if num_ranks == 1:
        yield Ranks((), rendezvous)
        return
    folder.mkdir(parents=True, exist_ok=True)
    with _threads_for(num_ranks):
        ranks = Ranks(_fork(num_ranks, rendezvous, follow), rendezvous)
        try:
            yield ranks
        except HeimdallError:
            raise
        except Exception as error:
            if (loss := ranks.explain()) is None:
                raise
            raise loss from error
        finally:
            ranks.close()
            rendezvous.unlink(missing_ok=True)


@contextmanager
def _threads_for(num_ranks: int) -> Iterator[None]:
    """No more torch threads in all than there are cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) // num_ranks)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fork(num_ranks: int, rendezvous: Path, follow: Follow) -> list[_Follower]:
    followers: list[_Follower] = []
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    for rank in range(1, num_ranks):
        orders_read, orders_write = Pipe(duplex=False)
        outcome_read, outcome_write = Pipe(duplex=False)
        pid = os.fork()
        if not pid:
            for pipe in (orders_write, outcome_read, *_pipes_of(followers)):
                pipe.close()
            _run_follower(
                parent,
                Seat(
                    share=Share(rank, num_ranks),
                    rendezvous=rendezvous,
                    _orders=orders_read,
                    _outcome=outcome_write,
                ),
                follow,
            )
        orders_read.close()
        outcome_write.close()
        followers.append(_Follower(pid=pid, rank=rank, orders=orders_write, outcome=outcome_read))
    return followers


def _pipes_of(followers: Sequence[_Follower]) -> Iterator[Connection]:
    for follower in followers:
        yield follower.orders
        yield follower.outcome


def _run_follower(parent: int, seat: Seat, follow: Follow) -> NoReturn:
    """In the forked process. Rank 0 alone is asked to stop; it ends this one."""
    code = 1
    try:
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, signal.SIG_IGN)
        _die_with(parent)
        with suppress(Dismissed):
            follow(seat)
        seat.end(_DONE)
        code = 0
    except BaseException as error:  # noqa: BLE001 - the last place that can say why
        traceback.print_exc()
        sys.stderr.flush()
        seat.end(_pickled(error))
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    """SIGKILL when rank 0 dies (Linux; elsewhere its pipes and sockets close)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _pickled(error: BaseException) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - an exception may hold anything
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return data


def _receive(pipe: Connection) -> bytes:
    """What a follower said at its end; empty: it died without a word."""
    try:
        return pipe.recv_bytes()
    except (EOFError, OSError):
        return b""


def _loss(rank: int, said: bytes, exit_code: int) -> BaseException:
    error = pickle.loads(said) if said else None  # noqa: S301 - from our own child
    if isinstance(error, Exception):
        return error
    how = f"died of {signal.Signals(-exit_code).name}" if exit_code < 0 else f"ended with code {exit_code}"
    return InfrastructureError(
        f"rank {rank} of the training {how}",
        code="rank_lost",
        hint="The next attempt goes on from the newest durable checkpoint; the job's log may say more.",
    )


def _is_consequence(error: BaseException) -> bool:
    """Whether a rank failed only because another one left: its part of a sum was cut off."""
    words = ("gloo", "NCCL", "Connection closed")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
