"""Every error that surpass raises on purpose. A message says what is wrong and what to do."""


class SurpassError(Exception):
    """Bad input or an unmet need; the command line prints it and exits with code 2."""


class UnmetNeed(SurpassError):
    """A part needs something that the engine or the task cannot do; raised before the first draw."""


class EngineError(SurpassError):
    """An engine could not serve a request."""


class TooLong(EngineError):
    """A prompt is longer than the model's context."""


class BudgetSpent(SurpassError):
    """The next request could cost more than what is left of a budget of tokens or dollars."""


class Damaged(SurpassError):
    """A file of a run's folder is not what a run has there, and is not used."""


class RunBroken(SurpassError):
    """A run cannot go on: too many failed attempts, or a folder that does not hold what it should."""
