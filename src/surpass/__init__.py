"""surpass: makes a language model better at a task with the model's own attempts."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from surpass.api import Solution, evaluate, evaluate_async, improve, improve_async, solve
    from surpass.errors import SurpassError
    from surpass.result import Result
    from surpass.parts import Learn, Method, Task
    from surpass.types import Problem, Report, Tree, Turn

_WHERE = {
    "surpass.api": ("Solution", "evaluate", "evaluate_async", "improve", "improve_async", "solve"),
    "surpass.errors": ("SurpassError",),
    "surpass.result": ("Result",),
    "surpass.parts": ("Learn", "Method", "Task"),
    "surpass.types": ("Problem", "Report", "Tree", "Turn"),
}

__all__ = [
    "Learn",
    "Method",
    "Problem",
    "Report",
    "Result",
    "Solution",
    "SurpassError",
    "Task",
    "Tree",
    "Turn",
    "evaluate",
    "evaluate_async",
    "improve",
    "improve_async",
    "solve",
]


def __getattr__(name: str) -> Any:
    """Names are imported when they are first used: torch takes seconds."""
    import importlib

    for module, names in _WHERE.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"surpass has no {name}")
