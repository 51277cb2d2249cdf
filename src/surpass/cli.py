"""The command line: the table of commands, and what is said when one fails."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence

import surpass
from surpass.commands import exams, listing, runs
from surpass.errors import SurpassError
from surpass.files import own_frame, where
from surpass.find import unknown
from surpass.shell import ending, hung_up, hush

USAGE = """surpass: makes a language model better at a task with its own attempts.

  surpass run METHOD [--model M] [--task T] [--task.KEY VALUE ...] [METHOD'S KNOBS]   improve a model
  surpass eval METHOD [--model M] [--task T] ...                                      the method's exam alone
  surpass eval [--model M] [--task T] ...                                             what a model can do, a line per task
  surpass resume FOLDER [--code FILE ...] [--url URL] [--cache FOLDER]                go on with a run that was stopped
  surpass compare METHOD METHOD ... [--budget tokens=200k] [--seeds 3] ...            methods at equal work, with error bars
  surpass view [FOLDER] [--port N]                                                    runs as pages in a browser, live
  surpass solve QUESTION [--method METHOD] [--model M] ...                            answer one question, and show how
  surpass export FOLDER --to hf|lora [--out FOLDER]                                   the kept model, for transformers and vLLM
  surpass init FILE.py [--kind task|reward|method]                                    a file of your own to begin with
  surpass methods [--family F] [--labels L] [--json]                                  the methods, all or those of a kind
  surpass tasks                                                                       the tasks
  surpass tasks TASK [--task.KEY VALUE ...] [--sample N] [--seed S]                   problems, and how attempts are scored

METHOD is a name or file.py:function (compare: also NAME,KNOB=VALUE,...), T a name, data:FILE, or file.py:class, M a Hub id, a folder, a .gguf file, or api:NAME.
Add --help after METHOD for every option."""  # noqa: E501

COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "run": runs.run,
    "eval": exams.evaluate,
    "resume": runs.resume,
    "compare": runs.compare,
    "view": runs.view,
    "solve": exams.solve,
    "export": runs.export,
    "init": listing.init,
    "methods": listing.methods,
    "tasks": listing.tasks,
}
QUICK = (listing.init, listing.methods)
"""Commands that load no model, and so need not wait for transformers."""


@ending
def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point; errors meant for people end in one message and exit code 2."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    wanted = {"-h", "--help"} & set(
        arguments[: 1 if arguments[:1] in (["eval"], ["compare"]) else 2]
    )  # these two tell of their options
    if not arguments or wanted:
        print(USAGE)
        return 0
    if arguments == ["--version"]:
        print(f"surpass {surpass.__version__}")
        return 0
    if odd := next(
        (word for word in arguments if any("\ud800" <= letter <= "\udfff" for letter in word)), None
    ):
        print(
            f'surpass: "{odd}" is not text in the encoding of this locale '
            f"({sys.getfilesystemencoding()}); take another, such as "
            "LC_ALL=C.UTF-8, or rename what it names",
            file=sys.stderr,
        )
        return 2
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    command = COMMANDS.get(arguments[0])
    try:
        if command is None:
            raise unknown("command", arguments[0], list(COMMANDS))
        warnings.showwarning = lambda message, *rest, **more: print(f"note: {message}", file=sys.stderr)
        warnings.simplefilter("ignore", FutureWarning)
        if command not in QUICK:
            hush()
        return command(arguments[1:])
    except KeyboardInterrupt:
        print("\nsurpass: stopped", file=sys.stderr)
        return 130
    except SurpassError as error:
        print(f"surpass: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if hung_up(error):
            raise
        print(f"surpass: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return 2
    except Exception as error:
        file = own_frame(error)
        if file is None:
            raise
        print(f"surpass: {file.name} raised {where(error, file)}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
