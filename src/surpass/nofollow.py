"""Files of a run's folder, which may come from somebody else: no link that lies in it is followed, and
nothing but plain files is opened.

The folder that the user names may be a link; what lies below it may not. Each file is opened from the folder
on with openat, one name after the other, each with O_NOFOLLOW, and without waiting (a FIFO would keep a
reader for ever). What a library writes into a folder of a run by its own means is written where `check` has
looked first. Races are not met there: whoever can change a folder while surpass works in it can write
whatever they like into the run itself.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from surpass.errors import SurpassError

FILES = (
    "lock",
    "lock.pid",
    "run.json",
    "state.json",
    "events.jsonl",
    "timing.jsonl",
    "secret",
    "report.html",
)
FOLDERS = ("trees", "texts", "examples", "credit", "exams", "weights", "surpass")
"""What surpass, and trackers for it, may write at the top of a run's folder."""
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def refused(path: Path | str, mode: int, wanted: str = "a plain file") -> SurpassError:
    """What to raise for something that is not what it should be."""
    kind = next((words for test, words in _KINDS if test(mode)), "a plain file")
    words = f"{path} is {kind}, where a run of surpass has {wanted}; nothing was read or written there"
    if stat.S_ISLNK(mode):
        return SurpassError(
            f"{words}: in a run's folder, which may come from somebody else, no link is followed. If "
            "you laid it, to keep a part of the run elsewhere, move the whole folder there and name "
            "that, or a link to the whole folder"
        )
    return SurpassError(f"{words}. Remove it, or begin a new run elsewhere")


def _shared(path: Path | str) -> SurpassError:
    return SurpassError(
        f"{path} has another name elsewhere (it is a hard link), so that what a run writes would be "
        "written there, too; nothing was changed. Copy the folder (cp -r), and go on with the copy"
    )


def descriptor(root: Path | str, name: str, flags: int = os.O_RDONLY) -> int:
    """A file descriptor of the plain file root/name. SurpassError where a folder on the way is none, where
    the file is a link, a pipe or a device, and, if it is to be written, where it has another name, too.
    OSError as `os.open`.
    """
    *folders, last = Path(name).parts
    if os.path.isabs(name) or ".." in folders or last == "..":
        raise SurpassError(f"{name} leads out of the folder {root}")
    path, at = Path(root), os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            path = path / folder
            mode = os.stat(folder, dir_fd=at, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(mode):
                raise refused(path, mode, "a folder")
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(last, dir_fd=at, follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode):
                raise refused(path / last, mode)
        found = os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=at)
    except OSError as error:
        if error.errno == errno.ELOOP:  # it became one just now
            raise refused(path, stat.S_IFLNK) from error
        error.filename = str(Path(root) / name)
        raise
    finally:
        os.close(at)
    now = os.fstat(found)
    if not stat.S_ISREG(now.st_mode) or (flags & (os.O_WRONLY | os.O_RDWR) and now.st_nlink > 1):
        os.close(found)
        raise (
            _shared(Path(root) / name)
            if stat.S_ISREG(now.st_mode)
            else refused(Path(root) / name, now.st_mode)
        )
    return found


def opened(root: Path | str, name: str, mode: str = "rb") -> Any:
    """root/name as a file object: "rb" to read; "ab" to write at its end; "r+b" to change; "wb" anew, where
    only a plain file may have lain.
    """
    if mode == "wb":
        with contextlib.suppress(FileNotFoundError):
            os.close(descriptor(root, name))  # refuses what is no plain file
            # the name alone goes, so that nothing else is overwritten that bears it, too
            os.unlink(Path(root) / name)
    flags = {
        "rb": os.O_RDONLY,
        "r+b": os.O_RDWR,
        "ab": os.O_WRONLY | os.O_APPEND | os.O_CREAT,
        "wb": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    }[mode]
    raw = io.FileIO(descriptor(root, name, flags), mode)
    return (
        io.BufferedReader(raw)
        if mode == "rb"
        else io.BufferedRandom(raw)
        if mode == "r+b"
        else io.BufferedWriter(raw)
    )


def read(root: Path | str, name: str, most: int | None = None) -> bytes | None:
    """What root/name holds, at most `most` bytes of it; None where there is no such file. SurpassError and
    OSError as `descriptor`.
    """
    try:
        with opened(root, name) as file:
            return file.read(-1 if most is None else most)
    except FileNotFoundError:
        return None


def there(path: Path | str) -> bool:
    """Whether something of this name is there, be it a link that leads nowhere."""
    return os.path.lexists(path)


def listed(root: Path | str, name: str) -> list[str]:
    """The names in the folder root/name, sorted; none where there is no such folder. SurpassError where it is
    something else, be it a link.
    """
    path = Path(root) / name
    try:
        if not stat.S_ISDIR(mode := os.lstat(path).st_mode):
            raise refused(path, mode, "a folder")
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def check(root: Path | str, files: Iterable[str] = FILES, folders: Iterable[str] = FOLDERS) -> None:
    """SurpassError unless all that surpass may write, remove or read below a run's folder is what it looks
    like: these files (and what they are called while they are written) plain files, these folders folders,
    with nothing but plain files and folders in them. A plain file that is written where it lies must have no
    second name.
    """
    root = Path(root)
    for name in [end for file in files for end in (file, f"{file}.partial")]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = os.lstat(root / name)
            if not stat.S_ISREG(found.st_mode):
                raise refused(root / name, found.st_mode)
            if found.st_nlink > 1 and name in ("lock", "events.jsonl", "timing.jsonl"):
                raise _shared(root / name)
    for name in folders:
        for path, mode in _below(root / name):
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise refused(path, mode)


def _below(path: Path) -> Iterator[tuple[Path, int]]:
    """(path, mode) of a folder and of everything below it, links not followed; nothing where there is
    none.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(mode):
        raise refused(path, mode, "a folder")
    waiting = [path]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                mode = entry.stat(follow_symlinks=False).st_mode
                yield Path(entry.path), mode
                if stat.S_ISDIR(mode):
                    waiting.append(Path(entry.path))
