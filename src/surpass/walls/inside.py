"""The files inside the sandbox: a Python without site packages, and the shared libraries that it loads."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path


@functools.cache
def python() -> Path:
    """The interpreter itself, not a virtual environment's link to it."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return next(
        p for p in (Path(sys.base_prefix) / "bin" / name, Path(sys.executable)) if p.exists()
    ).resolve()


def command() -> list[str]:
    """How Python starts inside: through the dynamic loader, which looks for libraries in /lib alone."""
    loader = next((Path(there).name for _, there in shown() if re.match(r"ld[-.]", Path(there).name)), "")
    by = [f"/lib/{loader}", "--library-path", "/lib"] if loader else []
    return [*by, f"/python/bin/{python().name}", "-I", "-S", "-B", "-X", "utf8"]


_PROBE = """
import os, sys, sysconfig
folder = os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")
names = {name.partition(".")[0] for name in os.listdir(folder)} if os.path.isdir(folder) else ()
for name in sorted(names):
    if name != "_tkinter" and not name.startswith(("_test", "xx", "_xx")):
        try:
            __import__(name)
        except Exception:
            pass
try:
    import ctypes
    ctypes.CDLL("libgcc_s.so.1")  # the C library loads it where a thread is cancelled
except Exception:
    pass
seen = {line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps") if "/" in line}
print(*sorted(path for path in seen if ".so" in os.path.basename(path) and not path.startswith(folder)), sep="\\n")
"""  # noqa: E501


@functools.cache
def shown() -> list[tuple[str, str]]:
    """(path, path inside) of all that Python needs: itself, its modules, the libraries that these load."""
    binary = python()
    base = {"base": sys.base_prefix, "installed_base": sys.base_prefix}
    library = Path(sysconfig.get_path("stdlib", vars=base))
    done = subprocess.run(
        [binary, "-I", "-S", "-B", "-c", _PROBE],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={},
        timeout=60,
    )
    found = [
        (str(binary), f"/python/bin/{binary.name}"),
        (str(library), f"/python/{library.parent.name}/{library.name}"),
    ]
    for path in map(Path, done.stdout.decode(errors="replace").splitlines()):
        stem = path.name.partition(".so")[0]
        names = {path.name} | {
            other.name for other in path.parent.glob(f"{stem}.so*") if other.resolve() == path
        }
        found += [(str(path), f"/lib/{name}") for name in sorted(names)]
    return list({there: (path, there) for path, there in found}.values())


def folders() -> list[str]:
    """The folders that hold these files. Those that bubblewrap makes by itself only root may enter."""
    places = [there for _, there in shown()] + ["/dev/null"]
    return sorted({str(folder) for there in places for folder in Path(there).parents if str(folder) != "/"})


def hidden() -> list[str]:
    """The folders of installed packages below Python's own modules."""
    path, there = shown()[1]
    return [
        f"{there}/{name}"
        for name in ("site-packages", "dist-packages")
        if os.path.isdir(os.path.join(path, name))
    ]
