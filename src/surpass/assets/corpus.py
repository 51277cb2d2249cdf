"""The text that the tiny models are trained on: transcripts of the suite's tasks, played by their oracles.

`example(i)` is a function of i alone, so the corpus is ordered and endless, and training can resume anywhere.
Only problems of the split "train" occur.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from surpass.assets.letters import ASSISTANT, END, MARKS, TOKENS, UNKNOWN
from surpass.parts import Task
from surpass.prompts import RIGHT
from surpass.types import fold

SEED = 1
VERDICTS = 0.35  # share of examples that end with a judgement of their attempt
CARELESS = 0.3  # share of attempts with several turns that contain slips
TRIES = 8  # attempts to draw, at most, for one that is right or wrong as wanted
SLIP = 0.3  # probability that a turn of a careless player is a slip


class Skill(NamedTuple):
    """Tasks that teach one skill.

    since: the number of the first example it may be drawn for. share: how often it is drawn. settings: the
    tasks with their knobs. verdicts: the share of attempts that are judged at their end. verdict, word: the
    weight of a verdict, and of any other token, in the loss. effort: at which a judged attempt is as likely
    wrong as right (0: always).
    """

    name: str
    since: int
    share: float
    settings: tuple[dict[str, Any], ...]
    verdicts: float = VERDICTS
    verdict: float = 5.0
    word: float = 1.0
    effort: float = 0.0


def encode(text: str) -> list[int]:
    """The tokens of a text, as the tokenizer gives them."""
    if not any(mark in text for mark in MARKS):
        return [TOKENS.get(c, TOKENS[UNKNOWN]) for c in text]
    found = min((text.index(mark), mark) for mark in MARKS if mark in text)
    at, mark = found
    return [*encode(text[:at]), TOKENS[mark], *encode(text[at + len(mark) :])]


class Transcript:
    """Tokens, and the weight of each in the loss: what the player is to say counts, what it is told
    does not.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.weights: list[float] = []

    def told(self, words: str | Sequence[Mapping[str, str]]) -> None:
        messages = [{"role": "user", "content": words}] if isinstance(words, str) else words
        for message in messages:
            self._add([TOKENS[f"<|{message['role']}|>"], *encode(message["content"]), TOKENS[END]], 0.0)
        self._add([TOKENS[ASSISTANT]], 0.0)

    def said(self, text: str, weight: float = 1.0) -> None:
        self._add([*encode(text), TOKENS[END]], weight)

    def _add(self, tokens: list[int], weight: float) -> None:
        self.tokens += tokens
        self.weights += [weight] * len(tokens)


def now(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that awaits nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("a task of the suite awaited something")


def effort(task: Any, problem: Any, rng: random.Random) -> float:
    """How much can go wrong in an attempt: the tokens of the oracle's attempt, and ten more per product."""
    text = task.oracle.act(problem, now(task.start(None, problem)).state, rng)
    return len(text) + 10.0 * text.count("*")


def transcript(
    task: Any,
    problem: Any,
    rng: random.Random,
    verdicts: float = VERDICTS,
    verdict: float = 5.0,
    half: float = 0.0,
) -> Transcript:
    """One attempt at a problem; with probability `verdicts` it is judged at its end, in a token of weight
    `verdict`.

    A judged attempt is right about half of the time; with `half`, it is right with probability 2 ** -(effort
    / half), because more effort means more errors. Nothing wrong is learnt: slips, and all turns of an
    attempt that is judged wrong, have the weight 0.
    """
    single = type(task).step is Task.step
    if not verdicts or rng.random() >= verdicts:
        careless = not single and rng.random() < CARELESS
        return _attempt(task, problem, rng, SLIP if careless else 0.0)[0]
    wanted = rng.random() < (2 ** -(effort(task, problem, rng) / half) if half else 0.5)
    for _ in range(TRIES):
        out, value = _attempt(task, problem, rng, float(not wanted) if single else 0.0 if wanted else SLIP)
        if (value >= 1) == wanted:
            break
    if value < 1:
        out.weights = [0.0] * len(out.weights)
    out.told(RIGHT)
    out.said("<yes>" if value >= 1 else "<no>", verdict)
    out.weights[-1] = 1.0
    return out


def _attempt(task: Any, problem: Any, rng: random.Random, slips: float) -> tuple[Transcript, float]:
    """(an attempt, its worth). Each turn is a slip, of weight 0, with probability `slips`."""
    out, paid, text = Transcript(), 0.0, ""
    turn = now(task.start(None, problem))
    out.told(turn.say[turn.player])
    while turn.player is not None:
        wrong = rng.random() < slips
        text = (task.oracle.slip if wrong else task.oracle.act)(problem, turn.state, rng)
        out.said(text, 0.0 if wrong else 1.0)
        turn = now(task.step(None, turn.state, text))
        paid += sum(turn.reward.values())
        if turn.player is not None:
            out.told(turn.say[turn.player])
    return out, paid + now(task.check(None, problem, text))


def make_task(settings: dict[str, Any]) -> Any:
    """A task from {"task": NAME, KNOB: VALUE, ...}."""
    import surpass.tasks

    knobs = {key: value for key, value in settings.items() if key != "task"}
    return getattr(surpass.tasks, settings["task"])(**knobs)


def example(i: int, skills: tuple[Skill, ...]) -> tuple[str, Transcript]:
    """(skill, transcript) number i."""
    rng = random.Random(fold(SEED, "example", i))
    known = [skill for skill in skills if skill.since <= i]
    coming = {skill.name for skill in skills} - {skill.name for skill in known}
    newest = known[-1] if coming else None  # a new skill is drawn twice as often until the next one comes
    skill = rng.choices(known, [s.share * (2 if s is newest else 1) for s in known])[0]
    task = make_task(rng.choice(skill.settings))
    problem = next(task.problems("train", fold(SEED, "problem", i)))
    out = transcript(task, problem, rng, skill.verdicts, skill.verdict, skill.effort)
    out.weights = [weight * skill.word for weight in out.weights]
    return skill.name, out


def arrays(one: Transcript) -> tuple[np.ndarray, np.ndarray]:
    """(tokens int16[t], weights float32[t])."""
    return np.asarray(one.tokens, np.int16), np.asarray(one.weights, np.float32)
