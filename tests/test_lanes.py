"""Every engine elsewhere is served in a lane of its own; what is drawn does not depend on who is quick."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from surpass.engines import ScriptedEngine
from surpass.engines.training import Step
from surpass.errors import UnmetNeed
from surpass.models import Models
from surpass.types import Problem, Tree
from tiny import nano_models, table


def test_a_judge_that_waits_keeps_no_policy_waiting():
    """The judge, whose turn comes first, answers only once the policy has."""
    drawn = threading.Event()

    def judge(text, key):
        assert drawn.wait(20), "the policy was not served while the judge waited"
        return "fine"

    def policy(text, key):
        drawn.set()
        return "a"

    models = Models(judge=ScriptedEngine(judge), policy=ScriptedEngine(policy))

    async def one(role):
        tree = Tree(Problem(role, ""))
        return models.said(role, tree, (await models.generate(role, tree, models.open(role, tree, "x")))[0])

    async def both():
        return await asyncio.gather(one("judge"), one("policy"))

    assert models.run(both()) == ["fine", "a"]
    assert models.batches == [2]


def test_how_long_a_judge_takes_changes_no_batch_and_no_token(nano):
    """A long draw pauses where others wait: whether they do must not depend on when the judge answered."""

    def grown(seconds):
        def judge(text, key):
            time.sleep(seconds)
            return "fine"

        models = Models(policy=nano(scale=0.1), judge=ScriptedEngine(judge))

        async def draw(i, n, tokens, asks):
            tree = Tree(Problem(str(i), ""), i)
            root = models.open("policy", tree, "ab")
            if asks:
                await models.chat("judge", [{"role": "user", "content": str(i)}])
            await models.generate("policy", tree, root, n, max_tokens=tokens)
            return tree

        async def all_of_them():
            return await asyncio.gather(draw(0, 2, 60, False), draw(1, 6, 2, False), draw(2, 1, 3, True))

        return models.run(all_of_them()), models.batches

    (trees, batches), (others, again) = grown(0.0), grown(0.3)
    assert batches == again == [9, 3], "two long draws go on together with the one that was asked for later"
    for a, b in zip(trees, others, strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_array_equal(a.logp, b.logp)


def test_two_lanes_that_ask_for_others_do_not_wait_for_each_other():
    class Listening(ScriptedEngine):
        pauses = True

        def serve(self, wanted, others):
            yield from super().serve(wanted[:1])
            asked.append(others())
            yield from super().serve(wanted[1:])

    asked, done = [], []
    models = Models({name: Listening(lambda text, key: "a") for name in ("one", "two")})

    async def draw(role, i):
        tree = Tree(Problem(f"{role} {i}", ""), i)
        return await models.generate(role, tree, models.open(role, tree, "x"))

    async def all_of_them():
        return await asyncio.gather(*(draw(role, i) for role in ("one", "two") for i in range(2)))

    thread = threading.Thread(target=lambda: done.append(models.run(all_of_them())), daemon=True)
    thread.start()
    thread.join(10)
    assert done and len(done[0]) == 4 and asked == [False, False]


def test_tokens_of_another_tokenizer_are_refused():
    models = Models(policy=table().engine("policy"), judge=nano_models().engine("policy"))
    tree = Tree(Problem("p", "a"))
    root = models.open("policy", tree, "a")
    assert models.text("policy", tree, root) == "a"
    for ask in (
        lambda: models.text("judge", tree, root),
        lambda: models.said("judge", tree, root),
        lambda: models.run(models.logprobs("judge", tree, root)),
        lambda: models.run(models.certainty("judge", tree, root)),
        lambda: models.run(models.next("judge", tree, root, [1])),
        lambda: models.run(models.generate("judge", tree, root)),
    ):
        with pytest.raises(
            UnmetNeed, match=r'tokens of this context are those of "policy".*"judge".*another'
        ):
            ask()
    twin = Models(policy=models.engine("policy"), value=models.engine("policy").twin())
    assert twin.text("value", tree, root) == "a", "a copy reads what the other wrote"


def test_the_start_of_a_round_is_that_of_all_its_rows():
    """The second row on the same weights compares with the weights before the first row's update."""
    import torch

    from surpass import learners, objectives
    from surpass.parts import Learn
    from surpass.selectors import every
    from surpass.types import Column, Example, Memory

    models = table(scale=0.5)
    engine = models.engine("policy")
    models.engines["other"] = engine
    models.version["other"] = 0
    tree = Tree(Problem("p", "a"))
    root = models.open("policy", tree, "a")
    (leaf,) = models.run(models.generate("policy", tree, root, max_tokens=3))
    tree.put("advantage", Column("leaf", np.ones(1)))
    before = models.run(models.logprobs("policy", tree, leaf))
    seen = []

    class look:
        columns, outputs = frozenset({"advantage", "logp@start"}), frozenset({"logp"})

        def __call__(self, out, batch):
            seen.append(batch.columns["logp@start"][1][batch.trained].numpy())
            return objectives.clipped()(out, batch)

    engine.update("policy", [], objectives.sft(), Step(0.1))  # an update of nothing changes nothing
    models.weights.begin_updates(["policy", "other"])
    for role in ("policy", "other"):
        row = Learn(role, every(), learners.gradient(look(), 0.5, epochs=2), voices=("policy",))
        models.run(row.learner(models, row, [Example(tree, (leaf,))], Memory(), 0))
    models.weights.succeed({})
    drawn = before[len(tree.own(root)) :]
    assert len(seen) == 4
    for column in seen:
        np.testing.assert_allclose(column, drawn, atol=1e-6)
    assert not torch.equal(
        torch.tensor(drawn), torch.tensor(models.run(models.logprobs("policy", tree, leaf))[1:])
    )
