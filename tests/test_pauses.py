"""A long draw does not keep the others waiting: it pauses, and goes on as if it had not."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from surpass import searches
from surpass.engines import ScriptedEngine
from surpass.engines.requests import Generate, Sampling
from surpass.errors import EngineError
from surpass.models import Models
from surpass.searches.round import search_all
from surpass.types import Problem, Tree
from tiny import copy_letter


def words(seed, n):
    return np.random.default_rng(seed).integers(3, 64, n).astype(np.int32)


STOPS = ("7", " ", *(a + b for a in "abcdefghij" for b in "klmnopqrst"))


def requests(first=0, n=6, **sampling):
    """Draws of very unequal length."""
    sampling = Sampling(**{"max_tokens": 40, "stop": STOPS} | sampling)
    return [
        Generate(words(i // 2 if i < 6 else i, 9), tuple(range(10 * i, 10 * i + 1 + i % 3)), sampling)
        for i in range(first, first + n)
    ]


def served(engine, wanted, others=lambda: False, joining=()):
    """({id of a request: its reply}, how often it was served); at every turn one more of `joining` comes
    along.
    """
    replies, turns, joining, everything = {}, 0, list(joining), [*wanted, *joining]
    while len(replies) < len(everything):
        replies |= {id(request): reply for request, reply in engine.serve(wanted, others)}
        wanted = [request for request in wanted if id(request) not in replies] + joining[:1]
        joining, turns = joining[1:], turns + 1
    return [replies[id(request)] for request in everything], turns


def same(found, wanted):
    for mine, other in zip(found, wanted, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert a.stop == b.stop
            np.testing.assert_array_equal(a.tokens, b.tokens)
            np.testing.assert_allclose(a.logp, b.logp, atol=1e-5)
            np.testing.assert_allclose(a.logq, b.logq, atol=1e-5)


# a small memory forgets what was computed, and computes it again
@pytest.mark.parametrize("memory", [65536, 120])
def test_what_is_paused_ends_as_if_it_had_not_been(nano, memory):
    plain, pausing = nano(scale=0.1), nano(scale=0.1, memory_tokens=memory)
    first, later = requests(n=40), requests(40, 5, temperature=0.7, top_k=20)
    wanted, _ = served(plain, first, joining=later)
    found, turns = served(pausing, first, lambda: True, later)
    assert turns > 5 and len({len(d.tokens) for some in wanted for d in some}) > 5
    same(found, wanted)
    assert not pausing.begun
    if memory == 65536:
        assert plain.counters() == pausing.counters()  # no token is counted for having been paused at


def test_a_pause_between_the_characters_of_a_stop_string(nano):
    engine = nano(scale=0.1)
    sampling = Sampling(max_tokens=40, stop=STOPS[2:])
    for key in range(50):
        (wanted,), _ = served(engine, [request := Generate(words(0, 9), (key,), sampling)])
        k = len(wanted[0].tokens) - 1
        # not one special token whose name has such a pair
        if k > 1 and engine.text.decode(wanted[0].tokens)[-2:] in STOPS:
            others = [Generate(words(1, 9), (other,), Sampling(max_tokens=k)) for other in range(50)]
            # with it half of the rows end
            short = next(r for r in others if len(served(engine, [r])[0][0][0].tokens) == k)
            first = list(engine.serve([request, short], lambda: True))
            assert [r for r, _ in first] == [short] and len(engine.begun[id(request)][1][0].tokens) == k
            same([reply for _, reply in engine.serve([request])], [wanted])
            return
    raise AssertionError("no draw ended so")


def test_where_nobody_waits_nothing_is_paused(nano):
    engine, asked = nano(scale=0.1), []
    _, turns = served(engine, requests(), lambda: bool(asked.append(1)))
    assert turns == 1 and asked


def test_draws_go_on_under_their_own_weights(nano):
    engine, other = nano(scale=0.1), nano(seed=1, scale=0.1)
    wanted, _ = served(nano(scale=0.1), requests())
    first = requests()
    replies = {id(request): reply for request, reply in engine.serve(first, lambda: True)}
    rest = [request for request in first if id(request) not in replies]
    assert rest and engine.begun
    with engine.using(other.weights()):
        list(engine.serve(requests(6)))
    replies |= {id(request): reply for request, reply in engine.serve(rest)}
    same([replies[id(request)] for request in first], wanted)
    list(engine.serve(requests(), lambda: True))
    engine.fresh()
    assert not engine.begun


def grown(engine, seed=0):
    search = searches.mcts(
        searches.values.constant(), simulations=12, n=2, stop="a", max_tokens=40, temperature=1.0
    )
    problems = [Problem(f"{i}", "ab"[i % 2], "a") for i in range(8)]
    models, steps, seen = Models(policy=engine), [], set()
    forward, serve = engine.decoder._forward, engine.serve
    engine.decoder._forward = lambda tokens, *rest: steps.append(len(tokens)) or forward(tokens, *rest)

    def watched(wanted, **others):
        old = [id(request) in seen for request in wanted]
        assert old == sorted(old, reverse=True), "what was begun goes first"
        seen.update(id(request) for request in wanted)
        kept.extend(wanted)
        yield from serve(wanted, **others)

    engine.serve, kept = watched, []  # kept: so that no request takes over another one's address
    trees = models.run(search_all(search, models, copy_letter(shared=True), problems, seed))
    return trees, steps, models


def test_searches_draw_the_same_in_fewer_steps(nano):
    patient, pausing = nano(scale=0.1), nano(scale=0.1)
    patient.pauses = False
    (wanted, many, one), (found, few, other) = grown(patient), grown(pausing)
    assert len(few) < 0.8 * len(many)
    assert one.cost["search"] == other.cost["search"]
    for a, b in zip(found, wanted, strict=True):  # siblings may come in another order
        assert sorted((k, a.own(i).tolist()) for i, k in enumerate(a.keys)) == sorted(
            (k, b.own(i).tolist()) for i, k in enumerate(b.keys)
        )
    assert max(other.batches) <= 2 * max(one.batches)
    again, steps, _ = grown(nano(scale=0.1))
    assert steps == few
    for a, b in zip(found, again, strict=True):
        assert a.tokens.tobytes() == b.tokens.tobytes() and a.logp.tobytes() == b.logp.tobytes()


def test_a_run_that_ends_in_a_pause_leaves_nothing_behind(nano):
    models = Models(policy=nano(scale=0.1))

    async def one(i):
        tree = Tree(Problem(str(i), ""), i)
        root = models.open("policy", tree, "ab")
        while True:
            await models.generate("policy", tree, root, 3, max_tokens=30, stop=("a", "e", "7"))
            root = tree.children(root)[-1]

    async def short():
        return await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(6))), 0.5)

    with pytest.raises(TimeoutError):
        models.run(short())
    assert not models._queue.others() and not models._queue.entries
    tree = Tree(Problem("after", ""))
    root = models.open("policy", tree, "ab")
    assert len(models.run(models.generate("policy", tree, root, 2, max_tokens=3))) == 2


def test_a_run_may_end_while_its_engine_listens():
    """The loop is never idle again; whoever waits for that has to be told."""

    class Listening(ScriptedEngine):
        pauses = True

        def serve(self, wanted, others):
            yield from super().serve(wanted[:1])
            others()

    models, tree = Models(policy=Listening(lambda text, key: "a")), Tree(Problem("p", ""))
    root = models.open("policy", tree, "ab")

    async def busy():
        await models.generate("policy", tree, root, 1)
        time.sleep(0.3)
        raise ValueError("over")

    def go():
        with pytest.raises(ValueError, match="over"):
            models.run(busy())
        done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=go)
    thread.start()
    thread.join(10)
    models._queue.answer()  # or this test would wait for ever, too
    assert done


def test_an_engine_that_leaves_a_request_without_having_paused_is_an_error(nano):
    engine = nano(scale=0.1)
    serve = engine.serve
    engine.serve = lambda wanted, others: (pair for pair in serve(wanted, others) if len(pair[0].keys) > 1)
    models, tree = Models(policy=engine), Tree(Problem("p", ""))
    root = models.open("policy", tree, "ab")
    with pytest.raises(EngineError, match="no answer"):
        models.run(models.generate("policy", tree, root, 1, max_tokens=3))


def test_outgrown_memory_is_kept_on_a_cpu_alone(nano):
    wanted, found = requests(max_tokens=100, stop=()), []
    for hoards in (True, False):
        engine = nano()
        assert engine.decoder.hoards
        engine.decoder.hoards = hoards
        found.append(served(engine, wanted)[0])
        grown = [name for name in engine.decoder.kept if name.startswith("rows")]
        assert len(grown) == (3 if hoards else 1), grown
    same(*found)
