"""Becomes a supervised child: ``python -I -S launcher.py PARENT_PID SIGNAL USER CWD PROGRAM [ARGUMENT ...]``.

Runs between fork and the real program, in a process of its own, so that the supervisor may have threads.
It gives up root for ``USER`` (``-``: stays who it is), enters ``CWD`` as that user, asks the kernel for
``SIGNAL`` when the supervisor dies, and turns into ``PROGRAM``. Standard library only: it starts in 20 ms.
"""

import contextlib
import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_READ_SEARCH = 2

CANNOT_ENTER = 126
CANNOT_RUN = 127


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _keep_search_capability(libc: ctypes.CDLL) -> None:
    """Keeps the right to pass through folders closed to the new user, and no other right of root.

    The state directory may lie below ``/root``, whose permissions are not ours to change.
    """
    bit = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, data) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


def become(user: str) -> None:
    """Changes from root to ``user``, for good."""
    account = pwd.getpwnam(user)
    linux = sys.platform == "linux"
    if linux:
        _libc().prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    if linux:
        _keep_search_capability(_libc())


def follow_parent(parent: int, death_signal: int) -> None:
    """Ends this process when ``parent`` ends, even by SIGKILL (Linux only)."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(CANNOT_RUN)


def main(arguments: list[str]) -> None:
    """Carries out the command line; returns only by ``exec`` or exit."""
    parent, death_signal, user, folder, *program = arguments
    try:
        if user != "-":
            become(user)
        os.chdir(folder)
    except (OSError, KeyError) as error:
        sys.stderr.write(f"cannot enter {folder} as user {user}: {error}\n")
        sys.exit(CANNOT_ENTER)
    follow_parent(int(parent), int(death_signal))
    try:
        os.execv(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"cannot run {program[0]}: {error}\n")
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
