"""Searches over steps against what exhaustive search knows: mcts, stepwise values, the first wrong step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lines import lines, writer
from surpass import choose, measures, searches
from surpass.errors import SurpassError
from surpass.rewards import check
from surpass.searches import values
from surpass.searches.round import search_all
from surpass.searches.steps import step_ends
from surpass.types import Problem, Tree

TASK = lines(4)


def grow(search, task=TASK, models=None, seed=0) -> list[Tree]:
    models = models or writer(task)
    trees = models.run(search_all(search, models, task, list(task.problems("train", 0)), seed))
    assert all(tree.stop[0] != 4 for tree in trees), trees[0].text[0]
    for tree, column in zip(trees, models.run(check()(models, task, trees)), strict=True):
        tree.put("reward", column)
    return trees


def solved(tree: Tree) -> bool:
    return bool((tree.get("reward").values == 1).any())


def expanded(tree: Tree) -> int:
    return len(
        {int(tree.parent[i]) for i in range(len(tree)) if tree.author[i] == "policy" and not tree.aside[i]}
    )


def test_with_a_perfect_value_no_expansion_is_wasted():
    search = searches.mcts(
        values.truth(), simulations=TASK.n, n=12, choice="greedy", backup="max", outcome=True, depth=TASK.n
    )
    trees = grow(search)
    assert all(solved(tree) for tree in trees), (
        "every problem is solved by as many expansions as it has steps"
    )
    assert {expanded(tree) for tree in trees} == {TASK.n}
    fewer = grow(dataclasses.replace(search, simulations=TASK.n - 1))
    assert not any(solved(tree) for tree in fewer), "and by no fewer"


@pytest.mark.parametrize(
    "choice, backup, to_end", [("ucb", "visits", False), ("puct", "all", True), ("ucb", "mean", False)]
)
def test_without_a_guide_the_search_proves_what_can_be_solved(choice, backup, to_end):
    search = searches.mcts(
        values.constant(0.0), 60, 12, choice, backup, explore=1.0, outcome=True, to_end=to_end, depth=TASK.n
    )
    trees = grow(search)
    assert all(solved(tree) for tree in trees), "2^4 words are soon all visited"
    starved = grow(dataclasses.replace(search, simulations=2, n=1))
    assert not all(solved(tree) for tree in starved)


def test_an_exam_counts_a_search_without_an_end_as_wrong_where_anybody_could_know():
    search = searches.mcts(
        values.truth(),
        simulations=TASK.n - 1,
        n=12,
        choice="greedy",
        backup="max",
        outcome=True,
        depth=TASK.n,
    )
    exam = measures.answers(search, {"train": 4}, choose.best("worth"))
    models = writer(TASK)
    found = models.run(exam(models, TASK, "train", 0)).metrics
    assert found["accuracy"] == {"mean": 0.0, "stderr": 0.0, "n": 4, "missing": 0}
    assert found["reward"]["missing"] == 4, "what was not answered has no value"

    class unlabelled(type(TASK)):
        async def check(self, models, problem, text):
            return float("nan")

    nobody = unlabelled(**dataclasses.asdict(TASK))
    assert models.run(exam(models, nobody, "train", 0)).metrics["accuracy"]["missing"] == 4


def test_a_search_that_has_seen_all_it_can_reach_ends_before_its_tokens_do():
    search = searches.mcts(
        values.constant(0.0), 10**9, 12, "ucb", outcome=True, depth=TASK.n, token_budget=10**9
    )
    assert all(solved(tree) for tree in grow(search))


def test_statistics_add_up():
    search = searches.mcts(values.constant(0.2), 30, 6, "ucb", "visits", outcome=True, depth=TASK.n)
    for tree in grow(search):
        visits, q, worth = (tree.get(name).values for name in ("visits", "q", "worth"))
        assert visits[0] == 30
        for node in np.flatnonzero(~np.isnan(visits)).tolist():
            children = [i for i in tree.children(node) if not np.isnan(visits[i])]
            below = sum(visits[i] for i in children)
            # judged when they were drawn: seen, if no simulation went there
            ends = sum(not tree.unfinished(i) for i in children)
            assert below - ends <= visits[node] <= below + 1 + 30 * (not children)
            told = [i for i in children if not np.isnan(q[i])]
            if weight := sum(visits[i] for i in told):
                np.testing.assert_allclose(q[node], sum(visits[i] * q[i] for i in told) / weight)
            elif children:
                assert np.isnan(q[node]), "only guesses stand below"
        ends = [i for i in tree.leaves() if not tree.unfinished(i)]
        np.testing.assert_allclose(
            worth[ends], tree.get("reward").values[[tree.leaves().index(i) for i in ends]]
        )
        assert np.isnan(
            tree.get("reward").values[[k for k, i in enumerate(tree.leaves()) if tree.unfinished(i)]]
        ).all()


def test_ucb_by_hand():
    """Two children of a root with 4 visits: 3 visits of worth 1/3 against 1 visit of worth 0.6, explore
    0.7.
    """
    low = 1 / 3 + 0.7 * np.sqrt(2 * np.log(4) / 3)
    high = 0.6 + 0.7 * np.sqrt(2 * np.log(4) / 1)
    from surpass.searches.mcts import _Grown
    from surpass.searches.steps import Steps

    tree = Tree(next(TASK.problems("train", 0)))
    root = tree.add(-1, "task")
    a, b = tree.add(root, "policy", [1]), tree.add(root, "policy", [2])
    search = searches.mcts(values.constant(), choice="ucb", explore=0.7)
    steps = Steps(None, TASK, tree, "policy", search.value, False, {}, "\n", 0, 99, 4)
    steps.begin(root)
    grown = _Grown(search, steps, root)
    grown.children[root], grown.visits, grown.total = (
        [a, b],
        {root: 4, a: 3, b: 1},
        {root: 0.0, a: 0.0, b: 0.0},
    )
    steps.worth |= {a: 1 / 3, b: 0.6}
    np.testing.assert_allclose([grown._score(root, a), grown._score(root, b)], [low, high])
    np.testing.assert_allclose(grown.q(root), (3 / 3 + 0.6) / 4)
    grown.visits[b] = 0
    np.testing.assert_allclose(grown._score(root, b), 0.6 + search.fresh)


def test_several_simulations_in_flight_share_batches_and_repeat():
    search = searches.mcts(values.constant(0.0), 24, 4, "ucb", outcome=True, depth=TASK.n)
    many = dataclasses.replace(search, in_flight=4)
    first, models = grow(many), writer(TASK)
    again = grow(many, models=models)
    for one, other in zip(first, again, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist() and one.parent.tolist() == other.parent.tolist()
        assert one.get("visits").values[0] == 24
    few = writer(TASK)
    grow(search, models=few)
    assert len(models.batches) < len(few.batches), (
        "simulations that are under way together are served together"
    )


@pytest.mark.parametrize("name", ["beam", "best_first"])
def test_beam_and_best_first_follow_a_perfect_value(name):
    kind = getattr(searches, name)
    good = grow(
        kind(values.truth(), depth=TASK.n, **({"width": 1, "n": 12} if name == "beam" else {"n": 12}))
    )
    assert all(solved(tree) for tree in good)
    assert {expanded(tree) for tree in good} == {TASK.n}, "no expansion is wasted"
    blind = grow(
        kind(values.constant(), depth=TASK.n, **({"width": 1, "n": 1} if name == "beam" else {"n": 1}))
    )
    assert np.mean([solved(tree) for tree in blind]) < 0.5


def test_a_beam_counts_by_its_weakest_step_if_asked():
    """Two steps: a then anything is worth 0.2 and 0.9; b then anything 0.6 and 0.5. By the last step a wins,
    by the least b.
    """

    @dataclasses.dataclass(frozen=True)
    class told:
        async def values(self, models, task, tree, nodes):
            known = {"a": 0.2, "b": 0.6}
            text = [models.text("policy", tree, node).replace("\n", "") for node in nodes]
            return np.array([known[t] if len(t) == 1 else {"a": 0.9, "b": 0.5}[t[0]] for t in text])

    task = lines(2)
    for least, first in ((False, "a"), (True, "b")):
        trees = grow(searches.beam(told(), depth=2, width=2, n=8, by_least=least), task)
        for tree in trees:
            from surpass.choose import best

            models = writer(task)
            assert models.text("policy", tree, best("worth")(tree))[0] == first


def test_steps_end_where_the_stop_stands():
    decode = lambda tokens: "".join("ab\n"[t] for t in tokens)  # noqa: E731
    assert step_ends(decode, [0, 2, 1, 1, 2, 0], "\n") == [2, 5, 6]
    assert step_ends(decode, [0, 2], "\n") == [2]
    assert step_ends(decode, [], "\n") == []


def located(linear: bool, n: int = 16, right: float = 0.94, k: int = 8) -> tuple[float, float]:
    """(share of wrong attempts whose first wrong line was found, prefixes that were completed for each)."""
    task, hits, total, drawn = lines(n), 0, 0, 0
    word = "ab" * (n // 2)
    problem = Problem("long", "write", word)
    for seed in range(12):
        models = writer(task, right, word)
        search = searches.first_error(k, 3, linear=linear)
        (tree,) = models.run(search_all(search, models, task, [problem], seed))
        found = tree.get("wrong_step").values
        drawn += models.cost["search"]["calls"] - k
        for node in np.flatnonzero(~np.isnan(found)).tolist():
            said = models.text("policy", tree, node, since=0).split("\n")
            first = next(
                i for i, (line, wanted) in enumerate(zip(said, word, strict=True), 1) if line != wanted
            )
            before = (
                models.text("policy", tree, tree.path(node)[-2], since=0).count("\n")
                if len(tree.path(node)) > 2
                else 0
            )
            hits += before + found[node] == first
            total += 1
    return hits / total, drawn / total / k


def test_halving_finds_the_first_wrong_step_with_fewer_completions():
    """Luo et al. 2024: in more than 80% of wrong attempts, with less than 0.6 of the completions that
    labelling all 16 steps takes; and with fewer than going on step by step until the error is met.
    """
    share, halving = located(False)
    also, until = located(True)
    print(
        f"halving finds {share:.2f} with {halving:.1f} prefixes each, step by step until the error "
        f"{also:.2f} with {until:.1f}"
    )
    assert share > 0.8 and also > 0.8
    assert halving < 0.6 * 15 and halving < until


def test_bad_settings_are_refused():
    with pytest.raises(SurpassError, match="choice"):
        searches.mcts(choice="best")
    with pytest.raises(SurpassError, match="at least 1"):
        searches.mcts(n=0)
