"""What draws, scores and is trained. `can` says what each engine is able to do."""

from surpass.engines.local import LocalEngine
from surpass.engines.scripted import ScriptedEngine
from surpass.engines.tabular import TabularEngine

__all__ = ["LocalEngine", "ScriptedEngine", "TabularEngine"]
