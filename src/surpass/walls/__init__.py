"""The walls of the sandbox: which files, system calls and rights one job has. surpass.sandbox runs jobs
behind them.

A job sees a Python without site packages, the shared libraries that its own modules load, /dev/null, and an
empty /tmp of bounded size and number of files; all else is read-only. bubblewrap installs a first filter of
system calls, which names what it lets through: what Python needs to compute, to use its own files and to
start threads. Before the worker reads its job it bounds /tmp, drops its last capability and installs a second
filter. That takes away what the first had to leave: mounting, starting programs, and changing its own rights.

Where root starts a sandbox, the worker becomes nobody outside, too, before it reads its job. Otherwise it
could change files that root owns, though it cannot write them.
"""

from surpass.walls.start import no_sandbox, started

__all__ = ["no_sandbox", "started"]
