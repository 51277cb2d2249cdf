"""One process per run: a lock on the file `lock` of its folder. Where the file system has no locks, a file
`lock.pid` names the process.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import time
import uuid
import warnings
from pathlib import Path
from typing import Any

from surpass import nofollow
from surpass.errors import SurpassError
from surpass.intact import loads

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # errors of flock where another process has the lock
TRIES, WAIT = 10, 0.02  # surpass view holds the lock for a moment to look at it
PID = "lock.pid"


class Lock:
    """Held from its creation until `close`. SurpassError where another process holds it.

    A lock of the system ends with the process that holds it. Some network and FUSE file systems have none.
    There the first process makes lock.pid, which names it and its machine. Once that process has ended,
    another on the same machine takes the file over. A process on another machine cannot see that, and asks
    its user to remove the file.
    """

    def __init__(self, folder: Path):
        self.folder, self.mine = folder, ""
        self.file = os.fdopen(nofollow.descriptor(folder, "lock", os.O_RDWR | os.O_CREAT), "r+b")
        try:
            why = self._locked()
            if why:
                self._write_pid(why)
        except BaseException:
            self.file.close()
            raise

    def _locked(self) -> str:
        """ "" once we hold the system's lock; the reason where the file system has no locks."""
        try:
            import fcntl
        except ImportError:
            return "this system has no flock"
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in HELD:
                    return error.strerror or str(error)
                if not left:
                    raise SurpassError(
                        f"the run {self.folder} is in use by another process; wait for it or stop it"
                    ) from error
                time.sleep(WAIT)
            else:
                break
        if other := _holder(self.folder):  # one that found no locks here
            raise SurpassError(_used(self.folder, other))
        return ""

    def _write_pid(self, why: str) -> None:
        """Make lock.pid; it replaces one whose process has ended."""
        self.mine = json.dumps(
            {
                "pid": os.getpid(),
                "began": _began(os.getpid()),
                "host": socket.gethostname(),
                "token": uuid.uuid4().hex,
            }
        )
        for _ in range(2 * TRIES):
            try:
                found = nofollow.descriptor(self.folder, PID, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                if other := _holder(self.folder):
                    raise SurpassError(_used(self.folder, other)) from None
                if _young(self.folder / PID):  # just made, and still empty
                    time.sleep(5 * WAIT)
                else:
                    self._remove(nofollow.read(self.folder, PID))
                continue
            with os.fdopen(found, "wb") as file:
                file.write(self.mine.encode())
            time.sleep(WAIT)
            if nofollow.read(self.folder, PID) != self.mine.encode():  # `_remove` put another one back
                continue
            warnings.warn(
                f"the file system of {self.folder} has no locks ({why}); {PID} keeps other processes on "
                "this machine out instead",
                stacklevel=5,
            )
            return
        raise SurpassError(
            f"the run {self.folder} could not be locked: {self.folder / PID} comes back whenever it is "
            "removed"
        )

    def _remove(self, was: bytes | None) -> None:
        """Remove lock.pid if it is still the one that was read. It is renamed first: of two processes that
        find it left behind, only one can do that.
        """
        aside = self.folder / f"{PID}.{uuid.uuid4().hex}.partial"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.folder / PID, aside)
            if (
                nofollow.read(self.folder, aside.name) != was
            ):  # another process was faster, and this is its own
                os.rename(aside, self.folder / PID)
                return
            aside.unlink()

    def close(self) -> None:
        """Release the lock; may be called again."""
        if self.mine and nofollow.read(self.folder, PID) == self.mine.encode():
            os.unlink(self.folder / PID)
        self.mine = ""
        self.file.close()


def held(folder: Path) -> bool:
    """Whether a process works on the run, as far as can be seen from here. Changes nothing."""
    try:
        import fcntl

        with nofollow.opened(folder, "lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError, SurpassError):
        pass
    return _holder(folder) is not None


def _holder(folder: Path) -> dict[str, Any] | None:
    """What lock.pid says of its process; None where it is missing or unreadable, or its process has ended.
    SurpassError where it is no plain file.
    """
    try:
        found = loads(nofollow.read(folder, PID, 4096) or b"null")
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("pid"), int) or not 0 < found["pid"] < 2**31:
        return None
    if found.get("host") != socket.gethostname():
        return found
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's process, which lives
    # a later process may have the same number
    return found if found.get("began") == _began(found["pid"]) else None


def _young(path: Path) -> bool:
    """Whether a file was made within the last second and is still empty."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return not found.st_size and abs(time.time() - found.st_mtime) < 1


def _began(pid: int) -> str | None:
    """When a process began, in clock ticks since boot; None where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _used(folder: Path, other: dict[str, Any]) -> str:
    host, here = f"{other.get('host')}"[:100], other.get("host") == socket.gethostname()
    who = f"process {other['pid']}" + ("" if here else f" on {host}")
    return (
        f"the run {folder} is in use by {who}; wait for it or stop it"
        if here
        else f"the run {folder} is in use by {who}, says {folder / PID}: its file system has no locks, and "
        "whether that process still runs cannot be seen from here. If it has ended, remove that file"
    )
