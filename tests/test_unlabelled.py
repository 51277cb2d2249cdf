"""Scores, measures and gates that use no labels: numbers worked by hand, and the refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from surpass import gates, measures, rewards, searches
from surpass.alarms import alarms
from surpass.engines import ScriptedEngine
from surpass.errors import EngineError, SurpassError
from surpass.models import Models
from surpass.types import DONE, FAILED, Column, Problem, Report, Row, Tree
from tiny import copy_letter, nano_models, table


def grown(logps, stops=None):
    """One problem whose leaves have these log-probs; the first token of each is the task's."""
    tree = Tree(Problem("p", "abc"), 1)
    tree.add(-1, "task", [1, 2])
    for i, logp in enumerate(logps):
        tree.add(0, "policy", range(len(logp)), logp=np.array(logp), stop=(stops or [DONE] * len(logps))[i])
    return tree


def scores(reward, tree, models=None, task=None):
    (column,) = (models or table()).run(reward(models or table(), task or copy_letter(), [tree]))
    return column.values


def test_likelihood_is_the_exponential_of_the_mean():
    tree = grown([[-1.0, -3.0], [-0.5], [-0.5, -0.5, -0.5], [-1.0]], [DONE, DONE, DONE, FAILED])
    np.testing.assert_allclose(
        scores(rewards.likelihood("", 4.0), tree),
        [math.exp(-8), math.exp(-2), math.exp(-2), math.nan],
        rtol=1e-6,
    )


def test_likelihood_under_the_start_counts_drawn_tokens_alone():
    models = nano_models()
    models.weights.remember(["policy@0"])

    async def go():
        tree = Tree(Problem("p", "ab"), 3)
        root = models.open("policy", tree, "ab")
        (node,) = await models.generate("policy", tree, root, 1, max_tokens=3)
        told = models.tell("policy", tree, node, "c")
        (last,) = await models.generate("policy", tree, told, 1, max_tokens=3)
        drawn = np.concatenate([tree.drawn(node)[0], tree.drawn(last)[0]])
        (column,) = await rewards.likelihood("policy@0", 2.0)(models, None, [tree])
        return column.values, math.exp(2 * drawn.astype(float).mean())

    values, wanted = models.run(go())
    assert values == pytest.approx([wanted], rel=1e-4)


class letters:
    """Answers are read off a list."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def final_answer(self, text):
        return next(self.answers)


def test_votes_by_weight_and_the_majority():
    answers = ["4", "5", None, "4", "5"]
    tree = grown([[-1.0]] * 5)
    np.testing.assert_allclose(
        scores(rewards.vote(), tree, task=letters(answers)), [0.4, 0.4, np.nan, 0.4, 0.4]
    )
    tree.put("sure", Column("leaf", np.array([0.1, 0.5, 0.2, 0.2, np.nan])))
    shares = scores(rewards.vote(weight="sure"), tree, task=letters(answers))
    np.testing.assert_allclose(
        shares, [0.3, 0.5, np.nan, 0.3, 0.5]
    )  # of the weight 1.0 in all; the unweighed leaf counts nothing
    tree.put("vote", Column("leaf", shares))
    np.testing.assert_allclose(scores(rewards.majority(), tree, task=letters(answers)), [0, 1, 0, 0, 1])
    np.testing.assert_allclose(
        scores(rewards.majority(scaled=True), tree, task=letters(answers)), [0, 0.5, 0, 0, 0.5]
    )
    tree.put("vote", Column("leaf", np.array([0.4, 0.4, np.nan, 0.4, 0.4])))
    # the earlier of equals
    np.testing.assert_allclose(scores(rewards.majority(), tree, task=letters(answers)), [1, 0, 0, 1, 0])
    tree.put("vote", Column("leaf", np.full(5, np.nan)))
    assert np.isnan(scores(rewards.majority(), tree, task=letters([None] * 5))).all()


def test_a_judges_verdicts_are_read_and_stand_aside():
    said = {"good": "Well done.\nScore: 4", "bad": "Score: 1 of 5? No.\nScore: 0.5", "mute": "I cannot say."}
    tree = Tree(Problem("p", "what?"), 1)
    models = Models(
        policy=ScriptedEngine(lambda text, key: next(s for word, s in said.items() if f"<{word}>" in text))
    )
    root = models.open("policy", tree, "what?")
    for word in said:
        models.put("policy", tree, root, word, "policy", stop=DONE)
    leaves = tree.leaves()
    values = scores(
        rewards.judge("{question} <{answer}>", n=2, pattern=r"Score: (\d+(?:\.\d+)?)"), tree, models
    )
    np.testing.assert_allclose(values, [0.8, 0.1, np.nan])
    assert tree.leaves() == leaves and sum(tree.aside) == 3 * (1 + 2)
    with pytest.raises(SurpassError, match="needs"):
        rewards.judge("{question}")


def test_a_judge_that_can_never_be_asked_is_an_error_and_one_that_sometimes_can_is_not():
    def broken(text, key):
        if "<bad>" in text:
            raise ValueError("no")
        return "Score: 5"

    tree = Tree(Problem("p", "what?"), 1)
    models = Models(policy=ScriptedEngine(broken))
    root = models.open("policy", tree, "what?")
    for word in ("good", "bad"):
        models.put("policy", tree, root, word, "policy", stop=DONE)
    np.testing.assert_allclose(scores(rewards.judge("{question} <{answer}>"), tree, models), [1, np.nan])
    with pytest.raises(EngineError):
        scores(rewards.judge("{question} <bad> {answer}"), tree, models)


def test_shaped_rewards_by_hand():
    tree = grown([[-1.0] * 6, [-1.0] * 8, [-1.0] * 10, [-1.0] * 12])
    np.testing.assert_allclose(scores(rewards.overlong(10, 4), tree), [0, -0.5, -1, -1])
    tree.put("a", Column("leaf", np.array([1.0, 0.0, 1.0, np.nan])))
    tree.put("b", Column("leaf", np.array([0.0, -0.5, -1.0, -1.0])))
    np.testing.assert_allclose(scores(rewards.weighted({"a": 1.0, "b": 2.0}), tree), [1, -1, -1, np.nan])
    tree.put("c", Column("node", np.zeros(5)))
    with pytest.raises(SurpassError, match="node axis"):
        scores(rewards.weighted({"c": 1.0}), tree)


def test_divergence_is_the_sum_of_log_ratios():
    models = nano_models()
    models.weights.remember(["policy@0"])
    import torch

    with torch.no_grad():
        for p in models.engine("policy").trainable().values():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))

    async def go():
        tree = Tree(Problem("p", "ab"), 3)
        root = models.open("policy", tree, "ab")
        await models.generate("policy", tree, root, 3, max_tokens=4)
        (column,) = await rewards.implicit()(models, None, [tree])
        wanted = []
        for leaf in tree.leaves():
            old = (await models.logprobs("policy@0", tree, leaf))[-len(tree.own(leaf)) :]
            wanted.append(float((tree.drawn(leaf)[0].astype(float) - old).sum()))
        return column.values, wanted

    values, wanted = models.run(go())
    np.testing.assert_allclose(values, wanted, atol=1e-4)
    assert np.abs(values).max() > 1e-3


def test_agreement_by_hand():
    """Four draws a problem, answers fixed by the script: three of four agree on one problem, two and one and
    none on the other.
    """
    plan = {"g": ["a", "a", "b", "a"], "h": ["a", "a", "c", ""]}

    class world(copy_letter):
        def final_answer(self, text):
            return text or None

    class Engine(ScriptedEngine):
        can = frozenset({"text", "tokens", "logprobs"})

        def serve(self, requests):
            for request in requests:
                if hasattr(request, "keys"):
                    words = iter(plan[self.text.decode(request.tokens).strip().split("\n")[0][-1]])
                    self.answer = lambda text, key, words=words: next(words)
                    yield from super().serve([request])
                else:
                    yield request, np.full(len(request.context), -0.25, np.float32)

    models = Models(policy=Engine(lambda text, key: ""))
    models.weights.snapshots["policy@0"] = {}
    models.engine("policy").using = lambda weights: __import__("contextlib").nullcontext()
    report = models.run(
        measures.agreement(searches.samples(4, max_tokens=3), {"gate": 2})(models, world(), "gate", 0)
    )
    by = {name: report.by_problem(name) for name in report.metrics}
    assert by["agreement"] == {"gate-g": 0.75, "gate-h": 0.5}
    assert by["answered"] == {"gate-g": 1.0, "gate-h": 0.75}
    # both say "a": each finds the one other problem the same
    assert by["sameness"] == {"gate-g": 1.0, "gate-h": 1.0}
    assert by["drift"] == {"gate-g": 0.25, "gate-h": 0.25}  # drawn with certainty, exp(-0.25) under the base
    assert by["sampled/mean_length"] == {"gate-g": 2.0, "gate-h": 1.75}  # with the end of turn


def test_measures_join_and_size():
    answers = measures.answers(searches.samples(1, 0.0, 2))
    agreement = measures.agreement(searches.samples(2, 1.0, 2))
    exam = measures.by_split({"gate": agreement, "test": measures.together((answers, agreement))})
    sized = measures.sized(exam, {"gate": 2, "test": 1})
    models = nano_models()
    models.weights.remember(["policy@0"])
    gate, test = (models.run(sized(models, copy_letter(), split, 0)) for split in ("gate", "test"))
    assert "accuracy" not in gate.metrics and gate.metrics["agreement"]["n"] == 2
    assert test.metrics["accuracy"]["n"] == test.metrics["agreement"]["n"] == 1
    assert exam.at_most("gate") == 48 * 2 * 2 and sized.at_most("test") == 1 * 2 + 1 * 2 * 2
    assert measures.answering(exam) is answers
    with pytest.raises(SurpassError, match="answers no problem"):
        measures.answering(agreement)


def figures(agreement=0.6, answered=0.9, sameness=0.1, drift=0.1, length=20.0, clipped=0.0) -> Report:
    values = {
        "agreement": agreement,
        "answered": answered,
        "sameness": sameness,
        "drift": drift,
        "sampled/mean_length": length,
        "sampled/clipped_ratio": clipped,
    }
    return Report("x", [Row(f"p{i}", 0, name, value) for name, value in values.items() for i in range(2)])


@pytest.mark.parametrize(
    "change, why",
    [
        ({}, None),
        ({"agreement": 0.1}, None),  # agreement may fall: it is asked of the start alone
        ({"drift": 0.6}, "drift is above"),
        ({"drift": math.nan}, "drift is above"),
        ({"length": 41.0}, "length changed"),
        ({"length": 9.0}, "length changed"),
        ({"clipped": 0.2}, "cut off"),
        ({"answered": 0.7}, "state an answer"),
        ({"sameness": 0.3}, "one and the same"),
    ],
)
def test_limits_refuse_what_goes_wrong_and_nothing_else(change, why):
    verdict = gates.limits()(figures(drift=0.0), figures(), figures(**change))
    assert verdict.keep == (why is None)
    assert (why or "not known") in verdict.why


def test_a_weak_vote_is_refused_by_the_starts_agreement():
    assert not gates.limits(agreement=0.5)(figures(agreement=0.4), figures(), figures(agreement=0.9)).keep
    assert gates.limits(agreement=0.5)(figures(agreement=0.6), figures(), figures(agreement=0.9)).keep


def test_alarms_say_what_went_wrong():
    def search(**more):
        return {"event": "search", "round": 1, "reward": 0.5, "entropy": 0.5} | more

    learn = {"event": "learn", "round": 1, "examples": 4}
    assert alarms([]) == [] and alarms([search(), learn]) == []
    assert "Votes are weak" in alarms([search(vote_share=0.3), learn])[0]
    assert alarms([search(vote_share=0.6), learn]) == []
    assert "All rewards" in alarms([search(frac_reward_zero_std=1.0), learn])[0]
    assert "all alike" in alarms([search(), search(entropy=0.05), learn])[0]
    assert "No round found" in alarms([search(), learn | {"examples": 0}])[0]
    near, far = ({**learn, "rewards/abs_margins": value} for value in (0.003, 0.3))
    for rounds in ([near], [learn, near], [near, near]):
        (words,) = alarms([search(), *rounds])
        assert "Preferences stayed" in words and "0.003" in words
    assert alarms([search(), far]) == alarms([search(), near, far]) == []
    assert alarms([search(), {**learn, "rewards/abs_margins": None}]) == []
