"""surpass methods | tasks | init: what there is, and a file of one's own to begin with."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
from collections.abc import Sequence, Set
from pathlib import Path

from surpass import catalogue
from surpass.errors import SurpassError
from surpass.files import quoted
from surpass.find import unknown
from surpass.parsing import plain, task_settings

ASSETS = Path(__file__).parent.parent / "assets"


def methods(arguments: Sequence[str]) -> int:
    """surpass methods [--family F] [--labels L] [--json]"""
    _, given = plain(
        arguments,
        "surpass methods [--family F] [--labels L] [--json]; one method's knobs: surpass run METHOD --help",
        words=(0,),
        flags=("--family", "--labels"),
        switches=("--json",),
    )
    found = every = [catalogue.described(name) for name in catalogue.names()]
    if family := given.get("--family"):
        family = _known("family", family, {word for method in every for word in method.families})
        found = [method for method in found if family in method.families]
    if labels := given.get("--labels"):
        labels = _known("kind of labels", labels, {method.labels for method in every})
        found = [method for method in found if method.labels == labels]
    if "--json" in given:
        print(json.dumps([method.as_dict() for method in found], ensure_ascii=False))
        return 0
    for method in found:
        print(f"{method.name:20} {', '.join(method.families):38} {method.title}")
    return 0


def _known(what: str, name: str, words: Set[str]) -> str:
    """The word that a filter names, with spaces or hyphens."""
    known = {word.replace(" ", "-"): word for word in words}
    key = name.lower().replace(" ", "-")
    if key not in known:
        raise unknown(what, name, sorted(known))
    return known[key]


def tasks(arguments: Sequence[str]) -> int:
    """surpass tasks [TASK --sample N]"""
    import surpass.tasks
    from surpass.find import make_task
    from surpass.sample import sample

    usage = "surpass tasks TASK [--task.KEY VALUE ...] [--sample N] [--seed S]"
    rest, settings = task_settings(arguments)
    words, given = plain(rest, usage, words=(0, 1), flags=("--sample", "--seed"))
    if words:
        if not all(n.isdigit() for n in given.values()):
            raise SurpassError(f"usage: {usage}")
        n, seed = int(given.get("--sample", 1)), int(given.get("--seed", 0))
        print(sample(make_task(words[0], settings), n, seed))
        return 0
    for name in surpass.tasks.TASKS:
        cls = getattr(surpass.tasks, name)
        who = f"{getattr(cls, 'seats', '1 player')}. "
        tools = f"Tools: {', '.join(cls.tools)}. " if getattr(cls, "tools", ()) else ""
        knobs = ", ".join(
            f"--task.{f.name} ({f.default!r})"
            for f in dataclasses.fields(cls)
            if f.default is not dataclasses.MISSING
        )
        print(f"{name:15} {(inspect.getdoc(cls) or '').splitlines()[0]}\n{'':15} {who}{tools}{knobs}")
    return 0


def init(arguments: Sequence[str]) -> int:
    """surpass init FILE.py [--kind task|reward|method]"""
    usage = "surpass init FILE.py [--kind task|reward|method]; FILE names the task, reward or method in it"
    (file,), given = plain(arguments, usage, words=(1,), flags=("--kind",))
    path, kind = Path(file), given.get("--kind", "task")
    if kind not in ("task", "reward", "method") or path.suffix != ".py" or not path.stem.isidentifier():
        raise SurpassError(f"usage: {usage}")
    if os.path.lexists(path):
        raise SurpassError(f"{path} exists already and was left as it is; choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (ASSETS / f"my{kind}.py").read_text(encoding="utf-8")
    text = text.replace(f"my{kind}.py", quoted(path)).replace(f"my{kind}", path.stem)
    path.write_text(text, encoding="utf-8")
    print(f"{path} holds a {kind} to begin with; how to try it stands at its top")
    return 0
