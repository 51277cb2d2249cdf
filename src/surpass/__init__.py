"""surpass: makes a language model better at a task with the model's own attempts."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from surpass.api import evaluate, evaluate_async, improve, improve_async, solve
    from surpass.comparing import compare
    from surpass.engines import LocalEngine
    from surpass.errors import SurpassError
    from surpass.models import Models
    from surpass.parts import Learn, Method, Task
    from surpass.result import Result
    from surpass.solution import Solution
    from surpass.types import Column, Example, Problem, Report, Tree, Turn

_WHERE = {
    "surpass.api": ("evaluate", "evaluate_async", "improve", "improve_async", "solve"),
    "surpass.comparing": ("compare",),
    "surpass.engines": ("LocalEngine",),
    "surpass.errors": ("SurpassError",),
    "surpass.models": ("Models",),
    "surpass.parts": ("Learn", "Method", "Task"),
    "surpass.result": ("Result",),
    "surpass.solution": ("Solution",),
    "surpass.types": ("Column", "Example", "Problem", "Report", "Tree", "Turn"),
}

__all__ = [
    "Column",
    "Example",
    "Learn",
    "LocalEngine",
    "Method",
    "Models",
    "Problem",
    "Report",
    "Result",
    "Solution",
    "SurpassError",
    "Task",
    "Tree",
    "Turn",
    "compare",
    "evaluate",
    "evaluate_async",
    "improve",
    "improve_async",
    "solve",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: torch takes seconds."""
    import importlib

    for module, names in _WHERE.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"surpass has no {name}")
