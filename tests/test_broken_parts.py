"""Engines and parts that break their promises, and models whose numbers are none: one message that names who
broke which, nothing hangs, and what a run had finished stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import signal
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from conftest import make_causal, make_tokenizer
from surpass import gates
from surpass.engines import LocalEngine, ScriptedEngine, TabularEngine
from surpass.engines.requests import Drawn, Generate
from surpass.errors import EngineError, RunBroken, SurpassError
from surpass.learners import gradient
from surpass.loop import evaluate, improve
from surpass.measures import answers
from surpass.methods.grpo import grpo
from surpass.models import Models
from surpass.searches import samples
from surpass.searches.round import search_all
from surpass.store import Store
from surpass.types import DONE, FAILED, Column, Example, Problem, Report, Row, Tree, Verdict
from tiny import copy_letter, nano_models, table

SECONDS = 20  # within which whatever breaks has to be told


@pytest.fixture(autouse=True)
def in_time():
    """A test that hangs ends itself."""

    def late(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# -- engines


class Native(BaseException):
    """As a panic of native code comes to Python."""


def draws(request, n=None, token=97, logp=0.0, **changes):
    one = np.full(1, logp, np.float32)
    return [
        dataclasses.replace(Drawn(np.array([token], np.int64), one, one, DONE), **changes)
        for _ in range(len(request.keys) if n is None else n)
    ]


class Odd(ScriptedEngine):
    """An engine whose serve is the generator given."""

    can = frozenset({"text", "tokens", "logprobs"})
    name = "odd"

    def __init__(self, serve):
        super().__init__(lambda text, key: "a")
        self.serve = serve


def raises(error):
    def serve(requests):
        raise error
        yield

    return serve


def gives(reply):
    return lambda requests: [(request, reply(request)) for request in requests]


ENGINES = {
    "SystemExit": (raises(SystemExit(0)), "SystemExit"),
    "KeyboardInterrupt": (raises(KeyboardInterrupt()), "KeyboardInterrupt"),
    "GeneratorExit": (raises(GeneratorExit()), "GeneratorExit"),
    "CancelledError": (raises(asyncio.CancelledError()), "CancelledError"),
    "a panic": (raises(Native("index out of bounds")), "index out of bounds"),
    "StopIteration": (raises(StopIteration()), "StopIteration"),
    "no generator": (lambda requests: None, "NoneType"),
    "nothing": (lambda requests: [], "gave no answer"),
    "no pairs": (lambda requests: [3], "pairs"),
    "twice": (lambda requests: [(r, draws(r)) for r in requests for _ in range(2)], "twice"),
    "another": (lambda requests: [(Generate(np.zeros(0), (0,), None), [])], "not asked"),
    "None": (gives(lambda r: None), "found None"),
    "text": (gives(lambda r: "hello"), "found str"),
    "too few": (gives(lambda r: draws(r, 0)), "found 0"),
    "too many": (gives(lambda r: draws(r, 9)), "found 9"),
    "no Drawn": (gives(lambda r: [None] * len(r.keys)), "one a key"),
    "nan": (gives(lambda r: draws(r, logp=math.nan)), "nan"),
    "infinite": (gives(lambda r: draws(r, logp=-math.inf)), "inf"),
    "beyond the vocabulary": (gives(lambda r: draws(r, token=257)), "from 0 to 256"),
    "far beyond": (gives(lambda r: draws(r, token=2**40)), "from 0 to 256"),
    "below the vocabulary": (gives(lambda r: draws(r, token=-1)), "from 0 to 256"),
    "tokens that are none": (gives(lambda r: draws(r, tokens=None)), "one number a token"),
    "words as tokens": (gives(lambda r: draws(r, tokens=np.array(["a"]))), "whole numbers"),
    "logp of another length": (
        gives(lambda r: draws(r, logp=0.0, logq=np.zeros(2, np.float32))),
        "one number a token",
    ),
    "an end that is none": (gives(lambda r: draws(r, stop=7)), "stop is one of"),
    "a text that is none": (gives(lambda r: draws(r, text=3)), "text is a str"),
    "an exit as an answer": (gives(lambda r: SystemExit(3)), "SystemExit"),
    "an interrupt as an answer": (gives(lambda r: KeyboardInterrupt()), "KeyboardInterrupt"),
    "an end of a generator as an answer": (gives(lambda r: StopIteration()), "StopIteration"),
    "a cancellation as an answer": (gives(lambda r: asyncio.CancelledError()), "CancelledError"),
}


@pytest.mark.parametrize("kind", ENGINES)
def test_an_engine_that_breaks_its_promise_fails_what_it_was_asked_and_nothing_hangs(kind):
    serve, words = ENGINES[kind]
    models, task = Models(policy=Odd(serve)), copy_letter(shared=True)
    problems = [Problem(f"{i}", "a", "a") for i in range(3)]
    with pytest.raises(RunBroken, match="searches failed") as broken:
        models.run(search_all(samples(2), models, task, problems, 0))
    assert words in str(broken.value), str(broken.value)
    models.engines["policy"] = ScriptedEngine(lambda text, key: "a")
    assert len(models.run(search_all(samples(2), models, task, problems, 0))) == 3, (
        "and the queue serves again"
    )


def test_an_engine_that_counts_wrongly_or_restores_no_weights_hangs_nobody():
    class NoCount(ScriptedEngine):
        def counters(self):
            raise SystemExit(1)

    class NoWay(TabularEngine):
        @contextlib.contextmanager
        def using(self, weights):
            raise SystemExit(2)
            yield

    async def ask(models, role):
        tree = Tree(Problem("p", "a"))
        root = models.open("policy", tree, "a")
        await (models.generate(role, tree, root) if role == "policy" else models.logprobs(role, tree, root))

    for engine, role in ((NoCount(lambda text, key: "a"), "policy"), (NoWay("ab"), "policy@0")):
        models = Models(policy=engine)
        if "@" in role:
            models.weights.remember([role])
        with pytest.raises(EngineError, match="SystemExit"):
            models.run(ask(models, role))


def test_an_engine_that_pauses_for_ever_is_told_so(monkeypatch):
    from surpass import serving

    monkeypatch.setattr(serving, "PASSES", 5)

    class Lazy(ScriptedEngine):
        pauses = True

        def serve(self, requests, others):
            others()
            yield from ()

    models = Models(policy=Lazy(lambda text, key: "a"))
    with pytest.raises(RunBroken, match="gave no answer"):
        models.run(
            search_all(
                samples(1, max_tokens=4), models, copy_letter(shared=True), [Problem("p", "a", "a")], 0
            )
        )


@pytest.mark.parametrize(
    "found", [None, "x", [1.0], np.zeros(3), np.array([math.nan, math.nan]), np.array([math.nan, math.inf])]
)
def test_scores_that_are_none_are_refused(found):
    models = Models(policy=Odd(lambda requests: [(r, found) for r in requests]))

    async def ask():
        tree = Tree(Problem("p", "ab"))
        await models.logprobs("policy", tree, tree.add(-1, "task", [97, 98]))

    with pytest.raises(EngineError, match="the engine odd gave no answer to Score"):
        models.run(ask())


# -- searches


@dataclass(frozen=True)
class odd_search:
    """A search that does for the problem "bad" what its number says, and else attempts it."""

    what: Any
    n: int = 1

    def at_most(self):
        return 8

    async def __call__(self, models, task, problem, rng):
        if problem.id == "bad":
            found = self.what()
            return await found if asyncio.iscoroutine(found) else found
        return await samples(1, max_tokens=4)(models, task, problem, rng)


def throw(error):
    def thrown():
        raise error

    return thrown


async def cancels_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def loses_a_task():
    task = asyncio.ensure_future(asyncio.sleep(9))
    task.cancel()
    await task


SEARCHES = {
    "SystemExit": (throw(SystemExit(0)), "SystemExit"),
    "GeneratorExit": (throw(GeneratorExit()), "GeneratorExit"),
    "CancelledError": (throw(asyncio.CancelledError()), "CancelledError"),
    "a panic": (throw(Native("boom")), "boom"),
    "itself cancelled": (cancels_itself, "CancelledError"),
    "a task of its own cancelled": (loses_a_task, "CancelledError"),
    "None": (lambda: None, "a Tree"),
    "a list": (lambda: [1], "a Tree"),
    "an empty tree": (lambda: Tree(Problem("bad", "a")), "a Tree"),
}


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_that_breaks_costs_its_tree_alone(kind):
    what, words = SEARCHES[kind]
    models, task = Models(policy=ScriptedEngine(lambda text, key: "a")), copy_letter(shared=True)
    problems = [Problem("a", "a", "a"), Problem("bad", "a", "a"), Problem("c", "a", "a")]
    trees = models.run(search_all(odd_search(what), models, task, problems, 0))
    assert [int(tree.stop[0]) == FAILED for tree in trees] == [False, True, False]
    assert words in trees[1].text[0] and (words != "a Tree" or "odd_search has to give" in trees[1].text[0])


def test_a_search_that_is_no_coroutine_is_told_so():
    class plain:
        def __call__(self, models, task, problem, rng):
            return Tree(problem)

    models = Models(policy=ScriptedEngine(lambda text, key: "a"))
    with pytest.raises(RunBroken, match="async def __call__"):
        models.run(search_all(plain(), models, copy_letter(shared=True), [Problem("p", "a", "a")], 0))


def test_ctrl_c_and_whoever_cancels_end_everything():
    models, task = Models(policy=ScriptedEngine(lambda text, key: "a")), copy_letter(shared=True)
    problems = [Problem("a", "a", "a"), Problem("bad", "a", "a")]
    with pytest.raises(KeyboardInterrupt):
        models.run(search_all(odd_search(throw(KeyboardInterrupt())), models, task, problems, 0))

    async def wait():
        await asyncio.sleep(60)

    threading.Timer(0.3, models.cancel).start()
    with pytest.raises(asyncio.CancelledError):
        models.run(search_all(odd_search(wait), models, task, problems, 0))

    async def impatient():
        await asyncio.wait_for(search_all(odd_search(wait), models, task, problems, 0), 0.2)

    with pytest.raises(TimeoutError):
        models.run(impatient())


def test_a_task_that_exits_inside_a_search_is_a_message():
    @dataclass(frozen=True)
    class exits(copy_letter):
        async def step(self, models, state, text):
            raise SystemExit(0)

    models = Models(policy=ScriptedEngine(lambda text, key: "a"))
    with pytest.raises(RunBroken, match="SystemExit"):
        models.run(search_all(samples(2), models, exits(shared=True), [Problem("p", "a", "a")], 0))


# -- the other parts


WHAT: list[Any] = []  # functions; a part is written as JSON, so it holds a number


@dataclass(frozen=True)
class odd:
    """A part that gives what a function says, at once or awaited."""

    number: int
    awaited: bool = False
    every: int = 1
    labels: bool = True
    role: str = "policy"
    needs = columns = frozenset()
    outputs = frozenset({"logp"})

    def __call__(self, *given):
        async def later():
            return WHAT[self.number](*given)

        return later() if self.awaited else WHAT[self.number](*given)


def part(what, awaited=False):
    WHAT.append(what)
    return odd(len(WHAT) - 1, awaited)


def made(**parts):
    """grpo, small, with other parts; those in `learn` replace parts of its one Learn."""
    method = grpo(problems=2, n=2, max_tokens=4)
    exam = answers(samples(1, max_tokens=4), n={"gate": 2, "test": 2})
    learn = {name: parts.pop(name) for name in ("select", "advantage", "learner") if name in parts}
    method = dataclasses.replace(
        method, exam=exam, gate=gates.always(), learn=(dataclasses.replace(method.learn[0], **learn),)
    )
    return dataclasses.replace(method, **parts)


def a_column(trees, values=lambda tree: np.zeros(len(tree.leaves()))):
    return [Column("leaf", values(tree)) for tree in trees]


PARTS = {
    "a curriculum that gives None": (
        {"curriculum": part(lambda *_: None, True)},
        "odd has to give two lists",
    ),
    "a curriculum of words": ({"curriculum": part(lambda *_: (["a"], []), True)}, "two lists"),
    "a curriculum that is no coroutine": ({"curriculum": part(lambda *_: ([], []))}, "async def"),
    "a reward that gives None": ({"scores": {"reward": part(lambda *_: None, True)}}, "a list of one Column"),
    "a reward that is no coroutine": (
        {"scores": {"reward": part(lambda m, t, trees: a_column(trees))}},
        "async def",
    ),
    "a reward for one tree too few": (
        {"scores": {"reward": part(lambda m, t, trees: a_column(trees[1:]), True)}},
        "it gave 1",
    ),
    "a reward of numbers": (
        {"scores": {"reward": part(lambda m, t, trees: [0.0] * len(trees), True)}},
        "one Column",
    ),
    "a reward of words": (
        {"scores": {"reward": part(lambda m, t, trees: a_column(trees, lambda tree: ["a"]), True)}},
        "are numbers",
    ),
    "a reward that exits": (
        {"scores": {"reward": part(lambda *_: throw(SystemExit(0))(), True)}},
        "odd raised SystemExit",
    ),
    "a reward that is cancelled": (
        {"scores": {"reward": part(lambda *_: throw(asyncio.CancelledError())(), True)}},
        "odd raised CancelledError",
    ),
    "an advantage that gives None": ({"advantage": part(lambda *_: None)}, "one dict of columns"),
    "an advantage that is a coroutine": (
        {"advantage": part(lambda *_: [], True)},
        "write def, not async def",
    ),
    "an advantage for other trees": ({"advantage": part(lambda *_: [])}, "it gave 0"),
    "an advantage of numbers": (
        {"advantage": part(lambda trees, memory: [{"advantage": 1.0} for _ in trees])},
        "one dict of columns",
    ),
    "an advantage that exits": (
        {"advantage": part(lambda *_: throw(SystemExit(1))())},
        "odd raised SystemExit: 1",
    ),
    "a selector that gives None": ({"select": part(lambda *_: None)}, "a list of Examples"),
    "a selector of trees": (
        {"select": part(lambda trees, *_: list(trees))},
        "a list of Examples and nothing else",
    ),
    "a selector of other nodes": (
        {"select": part(lambda trees, *_: [Example(trees[0], (999,))])},
        "nodes of their trees",
    ),
    "a learner that gives None": ({"learner": part(lambda *_: None, True)}, "a Report"),
    "an objective that gives None": ({"learner": gradient(part(lambda *_: None))}, "two dicts"),
    "an objective whose figures are numbers": (
        {"learner": gradient(part(lambda out, batch: ({"tokens": out.logp.sum()}, {"x": 1.0})))},
        "figures as pairs",
    ),
    "an exam that gives None": ({"exam": part(lambda *_: None, True)}, "a Report"),
    "an exam whose choice is no node": (
        {"exam": answers(samples(1, max_tokens=4), n={"gate": 2, "test": 2}, choose=part(lambda tree: None))},
        "a node of the tree",
    ),
    "an exam whose choice is another node": (
        {"exam": answers(samples(1, max_tokens=4), n={"gate": 2, "test": 2}, choose=part(lambda tree: 99))},
        "a node of the tree",
    ),
    "a gate that gives None": ({"gate": part(lambda *_: None)}, "a Verdict"),
    "a gate that says nan": ({"gate": part(lambda *_: Verdict(math.nan, "?"))}, "True or False"),
    "an adapt that gives None": ({"adapt": part(lambda *_: None, True)}, "a Method"),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_that_breaks_its_promise_is_named(kind):
    parts, words = PARTS[kind]
    models = table()
    with pytest.raises(RunBroken) as broken:
        models.run(improve(made(**parts), copy_letter(shared=True), models, rounds=1))
    assert words in str(broken.value), str(broken.value)


@dataclass(frozen=True)
class tasks_problems(copy_letter):
    what: str = "none"

    def problems(self, split, seed):
        return None if self.what == "none" else iter(["a"])


@pytest.mark.parametrize("what", ["none", "words"])
def test_a_task_whose_problems_are_none_is_named(what):
    models = table()
    with pytest.raises(RunBroken, match="tasks_problems has to give"):
        models.run(evaluate(made(), tasks_problems(what=what), models))


# -- numbers that are none


def broken(kind, dtype=torch.float32):
    """A nano model of which something is no number."""
    causal = make_causal(0, 0.05, dtype=dtype)
    with torch.no_grad():
        if kind == "all":
            for p in causal.parameters():
                p.fill_(math.nan)
        elif kind == "one number":
            causal.model.layers[1].mlp.up_proj.weight[3, 3] = math.nan
        elif kind == "infinite":
            causal.lm_head.weight[5] = math.inf
        elif kind == "too large":
            causal.lm_head.weight.fill_(3e38)
            causal.model.norm.weight.fill_(1e30)
        elif kind == "too large for half precision":
            for layer in causal.model.layers:
                layer.mlp.up_proj.weight.fill_(6e4)
                layer.mlp.down_proj.weight.fill_(6e4)
    return causal


@pytest.mark.parametrize(
    "kind, dtype",
    [
        ("all", torch.float32),
        ("one number", torch.bfloat16),
        ("infinite", torch.float16),
        ("too large", torch.float32),
        ("too large for half precision", torch.float16),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_a_model_whose_numbers_are_none_is_refused_when_it_is_loaded(kind, dtype, ours, monkeypatch):
    from surpass.engines import attention

    if not ours:
        monkeypatch.setattr(attention, "forms", lambda device: [])
    with pytest.raises(SurpassError, match="nan"):
        LocalEngine.of(broken(kind, dtype), make_tokenizer())


@pytest.mark.parametrize("cached", [True, False])
def test_what_overflows_for_one_token_alone_is_refused_where_it_is_drawn_or_scored(cached):
    engine = LocalEngine.of(broken(""), make_tokenizer())
    engine.causal.get_input_embeddings().register_forward_hook(
        lambda layer, given, out: out.masked_fill(
            (given[0] == engine.text.encode("a")[0])[..., None], math.nan
        )
    )
    engine.decoder.cached = cached
    models = Models(policy=engine)

    async def ask(letter, what):
        tree = Tree(Problem("p", letter))
        root = models.open("policy", tree, letter)
        if what == "draws":
            return await models.generate("policy", tree, root, 2, max_tokens=3)
        return await (
            models.logprobs("policy", tree, root)
            if what == "scores"
            else models.next("policy", tree, root, [3, 4])
        )

    for what in ("draws", "scores", "next") if cached else ("draws",):
        models.run(ask("b", what))
        with pytest.raises(EngineError, match="nan or too large"):
            models.run(ask("a", what))


def test_a_run_of_a_model_that_became_no_number_ends_and_keeps_what_it_had(tmp_path):
    """The weights break in the second round, ahead of its exam: nothing of that round is kept or written over
    the first.
    """
    models, store = nano_models(), Store(tmp_path)
    method = dataclasses.replace(made(), gate=gates.always())

    def say(what, round, event):
        if what == "exam" and round == 2:
            next(iter(models.engine("policy").trainable().values())).data.fill_(math.nan)

    with pytest.raises(RunBroken, match="nan or too large"):
        models.run(improve(method, copy_letter(), models, rounds=3, store=store, say=say))
    gate = [event["round"] for event in store.read_events() if event["event"] == "gate"]
    store.close()
    assert gate == [1]
    again, store = nano_models(), Store(tmp_path)
    result = again.run(improve(method, copy_letter(), again, rounds=3, store=store))
    assert result.kept_round == 3, "and the run goes on from what was written"


@dataclass(frozen=True)
class ruins:
    """A learner that leaves weights that are no numbers behind."""

    role: str = "policy"
    needs = frozenset({"train"})

    async def __call__(self, models, learn, examples, memory, rng):
        next(iter(models.engine("policy").trainable().values())).data.view(-1)[0] = math.inf
        models.version["policy"] += 1
        return Report("ruins")


def test_weights_that_are_no_numbers_are_not_written(tmp_path):
    models, store = nano_models(), Store(tmp_path)
    with pytest.raises(RunBroken, match="an update of policy left 1 of"):
        models.run(improve(made(learner=ruins()), copy_letter(), models, rounds=2, store=store))
    store.close()
    assert not (tmp_path / "weights").exists()


def exam(*values, metric="accuracy"):
    return Report("exam", [Row(f"p{i}", 0, metric, value) for i, value in enumerate(values)])


NONE = [
    (math.nan, math.nan, math.nan),
    (math.inf, 0.0, 0.0),
    (-math.inf, 1.0, 1.0),
    (math.inf, math.inf, math.inf),
]


@pytest.mark.parametrize("values", NONE)
@pytest.mark.parametrize("gate", [gates.no_worse(), gates.best_so_far()])
def test_figures_that_are_no_numbers_keep_nothing(gate, values):
    for start in ((0.0, 0.0, 0.0), (0.0, 1.0, 0.0)):
        best = exam(*start)
        verdict = gate(best, best, exam(*values))
        assert verdict.keep is False and not gates.at_least(best, exam(*values), "accuracy"), verdict
    assert gate(exam(*values), exam(*values), exam(0.0, 1.0, 0.0)).keep is False, (
        "nor is anything compared with them"
    )


FIGURES = ("agreement", "answered", "sameness", "drift", "sampled/mean_length", "sampled/clipped_ratio")


@pytest.mark.parametrize("name", FIGURES[1:])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_limits_are_kept_by_numbers_alone(name, value):
    def figures(**changes):
        found = {
            "agreement": 0.6,
            "answered": 0.9,
            "sameness": 0.1,
            "drift": 0.0,
            "sampled/mean_length": 9.0,
            "sampled/clipped_ratio": 0.1,
        }
        return Report(
            "agreement",
            [Row("p", 0, metric, changes.get(metric, figure)) for metric, figure in found.items()],
        )

    assert gates.limits()(figures(), figures(), figures()).keep
    assert not gates.limits()(figures(), figures(), figures(**{name: value})).keep


def test_an_objective_says_what_it_reads_before_anything_runs():
    with pytest.raises(SurpassError, match="has to say its columns and outputs"):
        gradient(lambda out, batch: ({}, {}))
