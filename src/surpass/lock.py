"""One process per run: a lock on the file `lock` of its folder, or, where the file system has no locks, a
file `lock.pid` that says who works there.
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

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # what flock says where somebody else has the lock
TRIES, WAIT = 10, 0.02  # surpass view looks at the lock for a moment
PID = "lock.pid"


class Lock:
    """Held from when it is made until `close`. SurpassError where another process holds it.

    A lock of the system ends with the process that holds it. Where there are none (some network and FUSE file
    systems), lock.pid is made by whoever comes first, names its process and machine, and is taken over once
    no such process lives on this machine; from another machine nobody can see that, so then its user is asked
    to.
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
        """ "" once the system's lock is ours; why there is none where the file system has no locks."""
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
        if other := _holder(self.folder):  # by a process that found no locks here
            raise SurpassError(_used(self.folder, other))
        return ""

    def _write_pid(self, why: str) -> None:
        """Make lock.pid, in place of one whose process is over."""
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
                if _young(self.folder / PID):  # made just now, and not written yet
                    time.sleep(5 * WAIT)
                else:
                    self._remove(nofollow.read(self.folder, PID))
                continue
            with os.fdopen(found, "wb") as file:
                file.write(self.mine.encode())
            time.sleep(WAIT)
            if nofollow.read(self.folder, PID) != self.mine.encode():  # one that was put back
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
        """Remove lock.pid if it is still the one that was read: of two processes that find it left behind
        only one renames it.
        """
        aside = self.folder / f"{PID}.{uuid.uuid4().hex}.partial"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.folder / PID, aside)
            if nofollow.read(self.folder, aside.name) != was:  # another process was faster, and it is theirs
                os.rename(aside, self.folder / PID)
                return
            aside.unlink()

    def close(self) -> None:
        """Let go; more than once is as good as once."""
        if self.mine and nofollow.read(self.folder, PID) == self.mine.encode():
            os.unlink(self.folder / PID)
        self.mine = ""
        self.file.close()


def held(folder: Path) -> bool:
    """Whether a process works on the run, as far as this one can see. Changes nothing."""
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
    """Who lock.pid says works there; None where there is none, it says nothing, or its process is over.
    SurpassError where it is no file.
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
        pass  # somebody else's, and it lives
    # a number is given again to a later process
    return found if found.get("began") == _began(found["pid"]) else None


def _young(path: Path) -> bool:
    """Whether a file was written within the last second, and holds nothing yet."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return not found.st_size and abs(time.time() - found.st_mtime) < 1


def _began(pid: int) -> str | None:
    """When a process began, in the system's own count; None where that is not told."""
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
        "whether that process still lives is not to be seen from here. If it is over, remove that file"
    )
