"""The door to models: batches that fill by themselves, keyed randomness, snapshots, trials, templates."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import time

import numpy as np
import pytest
import torch

from surpass import rewards
from surpass.engines import LocalEngine, ScriptedEngine
from surpass.engines.requests import Sampling
from surpass.engines.training import optimiser
from surpass.errors import EngineError, RunBroken, SurpassError, UnmetNeed
from surpass.models import Models
from surpass.searches import samples, tree
from surpass.searches.round import search_all
from surpass.types import DONE, FAILED, LENGTH, OPEN, Problem, Tree
from tiny import copy_letter, nano_models, table


def scripted(answer=lambda text, key: "yes"):
    return Models(policy=ScriptedEngine(answer))


def opened(models, prompt="q", key=0, role="policy"):
    grown = Tree(Problem("p", prompt), key)
    return grown, models.open(role, grown, prompt)


def test_everything_that_waits_is_one_batch():
    """64 coroutines, each asking three times in a row, are served in exactly three batches of 64."""
    models = scripted()

    async def search(i):
        grown = Tree(Problem(f"p{i}", "q"), i)
        node = models.open("policy", grown, "q")
        for _ in range(3):
            (node,) = await models.generate("policy", grown, node, max_tokens=8)

    async def every():
        await asyncio.gather(*(search(i) for i in range(64)))

    models.run(every())
    assert models.batches == [64, 64, 64]


def test_batches_wait_for_real_io_but_not_for_ever():
    """A search that awaits a socket joins the others' batch if its answer comes soon; a silent socket holds
    nobody up.
    """
    models = scripted()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def quick():
        grown, root = opened(models)
        await models.generate("policy", grown, root)

    async def slow():
        grown, root = opened(models, key=1)
        loop = asyncio.get_running_loop()
        await loop.sock_recv(ours, 1)
        await models.generate("policy", grown, root)

    async def both():
        theirs.send(b"x")
        await asyncio.wait_for(asyncio.gather(quick(), slow()), 5)
        waiting = asyncio.ensure_future(slow())
        await asyncio.wait_for(quick(), 5)
        waiting.cancel()

    models.run(both())
    assert models.batches == [2, 1]


def test_another_event_loop_works_too():
    models = scripted()

    async def one():
        grown, root = opened(models)
        return await models.generate("policy", grown, root, 3)

    assert len(asyncio.run(one())) == 3


def test_other_models_may_be_asked_inside_a_run():
    """Their loop tells whose run it is when all wait, and not the others."""
    models, others = scripted(), scripted()

    async def one():
        mine, theirs = opened(models), opened(others)
        both = asyncio.gather(models.generate("policy", *mine, 2), others.generate("policy", *theirs, 3))
        return [len(found) for found in await asyncio.wait_for(both, 10)]

    assert models.run(one()) == [2, 3]


@pytest.mark.parametrize(
    ("device", "given", "lora", "trained", "loaded", "mixed"),
    [
        ("cpu", "auto", None, True, "float32", False),
        ("meta", "auto", None, False, "bfloat16", False),
        ("meta", "auto", None, True, "float32", True),
        ("meta", "auto", {"r": 2}, True, "bfloat16", False),
        ("meta", "bfloat16", None, True, "bfloat16", False),
        ("cpu", "mixed", None, False, "float32", True),
    ],
)
def test_what_learns_is_never_in_bfloat16_unasked(monkeypatch, device, given, lora, trained, loaded, mixed):
    """The device "meta" stands for any that is no CPU."""

    def load_model(name, dtype):
        assert dtype == loaded
        raise KeyError(name)

    monkeypatch.setattr("surpass.engines.local.load_model", load_model)
    engine = LocalEngine.__new__(LocalEngine)
    with pytest.raises(KeyError):
        LocalEngine.__init__(engine, "x", given, device, lora, trained=trained)
    assert engine.mixed is mixed


def test_training_in_half_precision_warns(nano):
    models = Models(policy=nano(dtype=torch.bfloat16))
    with pytest.warns(UserWarning, match='policy are trained in half precision.*"mixed"'):
        optimiser(models.engine("policy"), "policy", lr=1e-5)


def test_draws_depend_on_keys_alone():
    """The same node draws the same tokens alone, in company, and after other requests elsewhere; another
    request differs.
    """
    models = nano_models()

    async def alone():
        grown, root = opened(models, "abc", 5)
        return [grown.own(i).tolist() for i in await models.generate("policy", grown, root, 4, max_tokens=6)]

    async def company():
        grown, root = opened(models, "abc", 5)
        others = [opened(models, "dcba", key) for key in range(6)]
        first = models.generate("policy", grown, root, 4, max_tokens=6)
        found, *_ = await asyncio.gather(
            first, *(models.generate("policy", t, r, 3, max_tokens=9) for t, r in others)
        )
        again = await models.generate("policy", grown, root, 4, max_tokens=6)
        return [grown.own(i).tolist() for i in found], [grown.own(i).tolist() for i in again]

    first = models.run(alone())
    same, other = models.run(company())
    assert first == same
    assert first != other
    assert len({tuple(tokens) for tokens in first}) > 1


def test_draw_logp_is_the_models_own_after_a_search():
    models = nano_models()
    task = copy_letter()

    async def go():
        (grown,) = await search_all(
            tree((3, 2, 2), stop="a", max_tokens=20), models, task, [Problem("x", "abc", "a")], 3
        )
        for leaf in grown.leaves():
            logp = await models.logprobs("policy", grown, leaf)
            drawn = np.concatenate([grown.drawn(node)[0] for node in grown.path(leaf)])
            known = ~np.isnan(drawn)
            np.testing.assert_allclose(drawn[known], logp[known], atol=1e-4)
        return grown

    grown = models.run(go())
    assert len(grown.leaves()) >= 4


def test_next_is_the_distribution_of_the_next_token():
    models = nano_models()

    async def go():
        grown, root = opened(models, "ab")
        everything = await models.next("policy", grown, root, range(64))
        node = models.put("policy", grown, root, "c", "task")
        path = await models.logprobs("policy", grown, node)
        return everything, path[-1], models.encode("policy", "c")[0]

    everything, last, token = models.run(go())
    assert np.exp(everything.astype(float)).sum() == pytest.approx(1, abs=1e-5)
    assert everything[token] == pytest.approx(last, abs=1e-5)


def testsnapshots_judge_with_old_weights_and_refusals_restore():
    models = nano_models()
    models.weights.remember(["policy@0", "policy@-1"])
    engine = models.engine("policy")

    async def score(role):
        grown, root = opened(models, "ab")
        return (await models.logprobs(role, grown, models.put("policy", grown, root, "cc", "task")))[1:]

    start = models.run(score("policy"))
    models.weights.trial(["policy"])
    with torch.no_grad():
        for p in engine.trainable().values():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    engine.fresh()
    moved = models.run(score("policy"))
    assert not np.allclose(start, moved)
    np.testing.assert_array_equal(models.run(score("policy@0")), start)
    np.testing.assert_array_equal(models.run(score("policy")), moved)
    models.weights.keep()
    np.testing.assert_array_equal(models.run(score("policy@-1")), start)
    models.weights.trial(["policy"])
    models.weights.snapshots["policy@-1"] = engine.weights()
    with torch.no_grad():
        next(iter(engine.trainable().values())).zero_()
    np.testing.assert_array_equal(models.run(score("policy@-1")), moved)
    models.weights.refuse()
    np.testing.assert_array_equal(models.run(score("policy")), moved)
    np.testing.assert_array_equal(models.run(score("policy@-1")), start)


def test_asnapshots_answer_comes_after_the_weights_are_back(monkeypatch):
    models = nano_models()
    models.weights.remember(["policy@0"])
    engine = models.engine("policy")
    with torch.no_grad():
        next(iter(engine.trainable().values())).add_(1)
    now = engine.weights()
    load = engine.load
    monkeypatch.setattr(engine, "load", lambda weights: (time.sleep(0.1), load(weights)))

    async def score():
        grown, root = opened(models, "ab")
        await models.logprobs("policy@0", grown, root)
        return engine.weights()

    seen = models.run(score())
    assert all(torch.equal(seen[name], now[name]) for name in now)


def test_unknown_rolessnapshots_and_abilities_say_what_there_is():
    models = scripted()

    async def ask(role):
        grown, root = opened(models)
        await models.logprobs(role, grown, root)

    with pytest.raises(UnmetNeed, match="can only: text, tokens"):
        models.run(ask("policy"))
    with pytest.raises(UnmetNeed, match='no model plays the role "judge"; there are: policy'):
        models.run(ask("judge"))
    with pytest.raises(UnmetNeed, match="not kept"):
        table().weights.remember(["policy@3"])


def test_tell_renders_the_suffix_only_and_ends_a_cut_turn():
    models = nano_models()
    text = models.engine("policy").text
    whole = text.open(
        [
            {"role": "user", "content": "ab"},
            {"role": "assistant", "content": "cd"},
            {"role": "user", "content": "ef"},
        ]
    )
    for ending in ([], [0]):  # a turn that was cut off, and one whose end was drawn
        grown, root = opened(models, "ab")
        said = models.put("policy", grown, root, text.encode("cd") + ending, "policy")
        told = models.tell("policy", grown, said, "ef")
        assert grown.path_tokens(told).tolist() == whole
        assert grown.author[told] == "task"
        assert np.isnan(grown.drawn(told)[0]).all()


def test_a_stop_string_ends_a_node_after_the_token_that_completes_it():
    models = scripted(lambda text, key: "1 + 2\n= 3")

    async def go():
        grown, root = opened(models)
        (step,) = await models.generate("policy", grown, root, stop=("\n",))
        (cut,) = await models.generate("policy", grown, root, max_tokens=3)
        (whole,) = await models.generate("policy", grown, root)
        return grown, step, cut, whole

    grown, step, cut, whole = models.run(go())
    assert [int(grown.stop[i]) for i in (step, cut, whole)] == [OPEN, LENGTH, DONE]
    assert models.text("policy", grown, step) == "1 + 2\n"
    assert models.text("policy", grown, whole) == "1 + 2\n= 3"


def test_failed_searches_are_data_until_most_fail():
    def answer(text, key):
        if "bad" in text:
            raise RuntimeError("boom")
        return "a"

    models, task = scripted(answer), copy_letter(shared=True)
    good, bad = Problem("g", "good", "a"), Problem("b", "bad", "a")
    trees = models.run(search_all(samples(2), models, task, [good, good, bad], 0))
    assert [int(t.stop[0]) == FAILED for t in trees] == [False, False, True]
    assert "boom" in trees[2].text[0]
    with pytest.raises(RunBroken, match="2 of 3 searches failed"):
        models.run(search_all(samples(2), models, task, [good, bad, bad], 0))


def test_an_engine_that_breaks_fails_its_requests_not_the_loop():
    class Broken(ScriptedEngine):
        def serve(self, requests):
            raise MemoryError("out of memory")

    models = Models(policy=Broken(lambda text, key: ""))

    async def go():
        grown, root = opened(models)
        await models.generate("policy", grown, root)

    with pytest.raises(EngineError, match="out of memory"):
        models.run(go())


def test_chat_answers_repeat_and_costs_are_counted():
    models = nano_models()
    ask = [{"role": "user", "content": "abc"}]

    async def go():
        return await models.chat("policy", ask, 2, max_tokens=5), await models.chat(
            "policy", ask, 2, max_tokens=5
        )

    first, second = models.run(go())
    assert first == second
    cost = models.cost["search"]
    assert cost["calls"] == 4
    assert 4 <= cost["generated"] <= 20
    assert cost["prefilled"] >= 5


def test_a_judged_leaf_stays_a_leaf():
    models = nano_models()
    grown, root = opened(models, "ab")
    leaf = models.put("policy", grown, root, "c", "policy")
    judge = models.open("policy", grown, "is it right", cause=leaf, aside=True)
    models.put("policy", grown, judge, "y", "judge")
    assert grown.leaves() == [leaf]


def test_sampling_refuses_nonsense():
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"min_p": 1}, {"max_tokens": 0}, {"top_k": -1}):
        with pytest.raises(SurpassError, match=next(iter(wrong))):
            Sampling(**wrong)


def test_dialogues_go_on_to_their_ends_while_what_was_computed_of_them_is_there(nano):
    """Six games of three turns on an engine with room for two at a time: the first two are over before the
    last two begin, each turn's words are the same as with room for all, and nothing is computed twice.
    """
    from surpass.engines.requests import Generate, Sampling, fitting

    class Engine:
        room = 100

    engine, request = Engine(), Generate(np.zeros(20, np.int32), (1,), Sampling(max_tokens=30))
    now, later = fitting(list(range(5)), lambda entry: (engine, request))
    assert (now, later) == ([0, 1], [2, 3, 4])
    large = Generate(np.zeros(900, np.int32), (1, 2), Sampling())
    assert fitting(["a", "b"], lambda entry: (engine, large))[0] == ["a"], "one is always served"
    assert fitting(["a", "b"], lambda entry: (object(), large)) == (["a", "b"], []), (
        "an API has no such limit"
    )

    def played(memory_tokens):
        models = Models(policy=nano(scale=0.1, memory_tokens=memory_tokens))
        order = []

        async def game(i):
            tree = Tree(Problem(f"p{i}", "x"))
            node = tree.add(-1, "task", np.arange(5, 25, dtype=np.int32) + i)
            for _ in range(3):
                (node,) = await models.generate("policy", tree, node, max_tokens=8, stop_tokens=(7,))
                node = tree.add(node, "task", np.array([9, 10, 11 + i], np.int32))
            order.append(i)
            return tree.tokens.tolist()

        async def all_games():
            return await asyncio.gather(*(game(i) for i in range(6)))

        return models.run(all_games()), order, models.cost["search"]["prefilled"]

    words, _, least = played(65536)
    found, order, prefilled = played(120)
    assert found == words and order == sorted(order)
    assert prefilled <= 1.2 * least


def test_a_snapshot_is_named_by_a_field_and_by_no_prompt():
    """A judge's prompt that spoke of policy@0, or of an address, once had a copy of the weights kept, or was
    refused for a role that is none.
    """
    from surpass.methods.grpo import grpo
    from surpass.needs import snapshots

    method = grpo(beta=0.1)
    assert snapshots(method) == ["policy@0"]
    asks = dataclasses.replace(
        grpo(), scores={"reward": rewards.judge("Write to mail@0 or policy@0: {question} {answer}")}
    )
    assert snapshots(asks) == []
