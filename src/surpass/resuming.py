"""What `surpass resume` reads from a run's folder. The folder may come from somebody else, so code, and where
data is sent and kept, must be allowed by name.
"""

from __future__ import annotations

import ipaddress
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from surpass import nofollow, records
from surpass.errors import RunBroken, SurpassError
from surpass.files import at_home, digest, load_file, quoted
from surpass.options import HOME, ApiOptions
from surpass.parts import Method, Task, from_json, modules_in
from surpass.store import Store


def configuration(
    folder: Path, code: Sequence[str], url: str | None, cache: str | None
) -> tuple[dict[str, Any], Method, Task]:
    """(run.json, the method, the task) of a run. `code`, `url` and `cache` are what the user allowed.

    SurpassError where more must be allowed, where a file changed since the run began, and where run.json is
    damaged or names what this version does not have.
    """
    nofollow.check(folder)
    config = Store.read_run(folder)
    records.checked(config, folder / "run.json")
    if "__main__" in modules_in([config["task"], config["method"]]) or config["model"]["name"] == "in memory":
        raise SurpassError(
            "this run was begun from Python with objects of its own; go on with it by the same call of "
            "surpass.improve, "
            f'out="{folder}"'
        )
    allowed = {Path(path).stem: str(at_home(path).resolve()) for path in code}
    files = config.get("files", {})
    needed = [path for path in files if path.endswith(".py") and Path(path).stem not in allowed]
    if needed:
        raise SurpassError(
            f"this run uses code of your own; allow it by name: surpass resume {quoted(folder)} --code "
            f"{quoted(*needed)}"
        )
    _allow(folder, config["model"].get("api", {}), url, cache)
    for path, was in files.items():
        path = allowed.get(Path(path).stem, path) if path.endswith(".py") else path
        if is_file(path) and digest(path) != was:
            raise SurpassError(
                f"{Path(path).name} has changed since this run began; a run goes on with the files it "
                "began with. Put the old one back, or begin a new run"
            )
    for path in allowed.values():
        load_file(path)
    task, method = from_json(config["task"], allowed), from_json(config["method"], allowed)
    if not isinstance(method, Method) or not (hasattr(task, "problems") and hasattr(task, "check")):
        what = "task" if isinstance(method, Method) else "method"
        raise SurpassError(
            f"{folder / 'run.json'} does not hold what a run needs: its {what} is not one. Put back a copy "
            "of it, or begin a new run"
        )
    return config, method, task


def is_file(path: str) -> bool:
    """Whether there is such a file; False for names that no file can have, such as one with a nul in it."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _allow(folder: Path, api: Mapping[str, Any], url: str | None, cache: str | None) -> None:
    """SurpassError unless the user allowed where the API is that gets key and data, and where answers go."""
    flags = api_flags(api)
    if flags.get("--url", url) != url:
        raise SurpassError(
            f"this run asks a model at {api['url']:.200}, which would be sent the run's data and your "
            "key (OPENAI_API_KEY); allow it by name: surpass resume "
            f"{quoted(folder, *(word for flag in flags.items() for word in flag))}"
        )
    if flags.get("--cache", cache) != cache:
        raise SurpassError(
            f"this run keeps answers in {api['cache']:.200}; allow it by name: "
            f"surpass resume {quoted(folder, *(word for flag in flags.items() for word in flag))}"
        )


def api_flags(api: Mapping[str, Any]) -> dict[str, str]:
    """The flags that a run with this API needs on resume: --url unless it is the usual one or on this
    machine, --cache unless it is the usual one.
    """
    found = {}
    if "url" in api and api["url"] != ApiOptions().url and not _here(api["url"]):
        found["--url"] = api["url"]
    if api.get("cache") is not None and at_home(api["cache"]) != at_home(HOME):
        found["--cache"] = api["cache"]
    return found


def _here(url: str) -> bool:
    """Whether a URL names this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def broken(error: Exception, folder: Path) -> RunBroken:
    """What to raise for an unforeseen error in a resumed run."""
    here = Path(__file__).parent
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if here in Path(frame.filename).parents
    ]
    at = f" in {Path(frames[-1].filename).relative_to(here)}, line {frames[-1].lineno}" if frames else ""
    return RunBroken(
        f"the run {folder} could not go on: {type(error).__name__}{at}: "
        f"{' '.join(str(error).split()):.300}. Either the folder holds what surpass did not write (then "
        "put back a copy, or begin a new run), or this is a fault of surpass: SURPASS_TRACEBACK=1 "
        "shows where"
    )
