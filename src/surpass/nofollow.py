"""Files of a run's folder, which may come from somebody else: links in it are not followed, and only plain
files are opened.

The folder that the user names may be a link; what lies below it may not. From that folder on, each name is
opened from the one above it with openat, O_NOFOLLOW and O_NONBLOCK, so that no link leads elsewhere and no
FIFO keeps a reader waiting. Where a library writes files of a run by its own means, `check` looks first; that
is no defence against a swap after it, but whoever can change a folder while surpass works in it can write
whatever they like into the run itself.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from surpass.errors import Damaged

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


def refused(path: Path | str, mode: int, wanted: str = "a plain file") -> Damaged:
    """The error for a path that is of another kind than a run has there."""
    kind = next((words for test, words in _KINDS if test(mode)), "a plain file")
    words = f"{path} is {kind}, where a run of surpass has {wanted}; nothing was read or written there"
    if stat.S_ISLNK(mode):
        return Damaged(
            f"{words}: in a run's folder, which may come from somebody else, no link is followed. If "
            "you made it to keep a part of the run elsewhere, move the whole folder there and name "
            "that, or a link to the whole folder"
        )
    return Damaged(f"{words}. Remove it, or begin a new run elsewhere")


def _shared(path: Path | str) -> Damaged:
    return Damaged(
        f"{path} has another name elsewhere (it is a hard link), so that what a run writes would be "
        "written there, too; nothing was changed. Copy the folder (cp -r), and go on with the copy"
    )


@contextlib.contextmanager
def _inside(root: Path | str, folders: Iterable[str]) -> Iterator[tuple[int, Path]]:
    """(descriptor, path) of the folder root/folders..., each of them opened from the one above it."""
    path, at = Path(root), os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            path = path / folder
            below = _open(path, at, os.O_RDONLY | os.O_DIRECTORY, stat.S_ISDIR, "a folder")
            os.close(at)
            at = below
        yield at, path
    finally:
        os.close(at)


def _open(path: Path, at: int, flags: int, fits: Callable[[int], bool], wanted: str = "a plain file") -> int:
    """A descriptor of `path`, which lies in the folder `at`. Its kind is checked before it is opened, because
    opening a device may have effects, and again after, because it may have been swapped meanwhile.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path.name, dir_fd=at, follow_symlinks=False).st_mode
        if not fits(mode):
            raise refused(path, mode, wanted)
    try:
        found = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666, dir_fd=at)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # swapped for a link just now
            raise refused(path, stat.S_IFLNK, wanted) from error
        raise
    mode = os.fstat(found).st_mode
    if not fits(mode):
        os.close(found)
        raise refused(path, mode, wanted)
    return found


def descriptor(root: Path | str, name: str, flags: int = os.O_RDONLY) -> int:
    """A file descriptor of the plain file root/name. Damaged where a folder on the way is none, where the
    file is a link, a pipe or a device, and, to write, where it has a second name. OSError as `os.open`.
    """
    *folders, last = Path(name).parts
    if os.path.isabs(name) or ".." in folders or last == "..":
        raise Damaged(f"{name} leads out of the folder {root}")
    try:
        with _inside(root, folders) as (at, path):
            found = _open(path / last, at, flags, stat.S_ISREG)
    except OSError as error:
        error.filename = str(Path(root) / name)
        raise
    if flags & (os.O_WRONLY | os.O_RDWR) and os.fstat(found).st_nlink > 1:
        os.close(found)
        raise _shared(Path(root) / name)
    return found


def opened(root: Path | str, name: str, mode: str = "rb") -> Any:
    """root/name as a file object, to read ("rb"), to append ("ab"), to change ("r+b"), or to write anew
    ("wb"; only a plain file is replaced).
    """
    if mode == "wb":
        with contextlib.suppress(FileNotFoundError):
            os.close(descriptor(root, name))  # refuses what is no plain file
            # the name goes, not the content, which may have a second name
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
    """The first `most` bytes of root/name, or all; None where there is none. Errors as `descriptor`."""
    try:
        with opened(root, name) as file:
            return file.read(-1 if most is None else most)
    except FileNotFoundError:
        return None


def there(path: Path | str) -> bool:
    """Whether anything has this name, be it a link that leads nowhere."""
    return os.path.lexists(path)


def listed(root: Path | str, name: str, most: int | None = None) -> list[str]:
    """The names in the folder root/name, sorted, at most `most` of them; none where there is no such folder.
    Damaged where it is something else, be it a link.
    """
    try:
        with _inside(root, Path(name).parts) as (at, _), os.scandir(at) as entries:
            return sorted(entry.name for entry in itertools.islice(entries, most))
    except FileNotFoundError:
        return []


def check(root: Path | str, files: Iterable[str] = FILES, folders: Iterable[str] = FOLDERS) -> None:
    """Damaged unless all that surpass may write, remove or read in a run's folder has the right kind: `files`
    (also with the ending .partial, while they are written) are plain files; `folders` are folders that hold
    only plain files and folders. A file that is written in place must have no second name.
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
    """(path, mode) of everything below a folder, without following links; nothing where there is none."""
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
