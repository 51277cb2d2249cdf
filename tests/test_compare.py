"""Methods at equal work: budgets that end runs, statistics that are right, finished runs that are reused."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest

from report_data import Page, reports
from small_methods import digest, small
from surpass.budget import KINDS, Budget, flops, spent
from surpass.cli import main
from surpass.comparison import Runs, difference, holm, judged
from surpass.errors import SurpassError
from surpass.find import Entry
from surpass.learners import gradient
from surpass.loop import improve
from surpass.report.comparison import bands, on_grid, write_comparison
from surpass.store import Store
from tiny import copy_letter, nano_models

# -- budgets


@pytest.mark.parametrize(
    "text, kind, amount",
    [
        ("tokens=200k", "tokens", 2e5),
        ("flops=1e15", "flops", 1e15),
        ("calls=1_000", "calls", 1000),
        ("seconds=1.5", "seconds", 1.5),
        ("trained=2M", "trained", 2e6),
    ],
)
def test_budgets_are_read(text, kind, amount):
    assert Budget.parse(text) == Budget(kind, amount)
    assert Budget.parse(str(Budget(kind, amount))) == Budget(kind, amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tokens",
        "tokens=",
        "tokens=many",
        "money=3",
        "tokens=0",
        "tokens=-3",
        "tokens=inf",
        "tokens=nan",
        "=3",
    ],
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(SurpassError, match="a budget is"):
        Budget.parse(text)


def test_exams_are_not_in_it():
    cost = {"search": {"generated": 5, "prefilled": 7}, "learn": {"trained": 3}, "exam": {"generated": 100}}
    assert spent(cost) == {"generated": 5, "prefilled": 7, "trained": 3}
    assert flops(spent(cost), 10) == 2 * 10 * 12 + 6 * 10 * 3


def run(folder=None, budget=None, rounds=10**6, method=None):
    store, models = (Store(folder) if folder else None), nano_models()
    method = method or small("grpo", every=2)
    try:
        return models.run(improve(method, copy_letter(), models, rounds=rounds, store=store, budget=budget))
    finally:
        if store:
            store.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "scored"])
def test_a_run_ends_before_it_goes_beyond(kind):
    result = run(budget=Budget(kind, {"seconds": 1.5, "flops": 3e8}.get(kind, 300)))
    rounds = [e["round"] for e in result.events if e["event"] == "learn"]
    gates = [e for e in result.events if e["event"] == "gate"]
    assert len(rounds) > 1 and gates[-1]["round"] == rounds[-1], "what was learnt last is judged, too"
    assert f"the budget, {kind}=" in result.events[-1]["why"]
    counts = {"tokens": "generated"}.get(kind, kind)
    if counts in gates[-1]["spent"]:
        assert 150 < gates[-1]["spent"][counts] <= 300


def test_the_first_round_is_always_made():
    result = run(budget=Budget("tokens", 1))
    assert [e["round"] for e in result.events if e["event"] == "learn"] == [1]


def test_a_run_with_a_budget_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    budget = Budget("tokens", 700)
    run(tmp_path / "whole", budget)
    learn, left = gradient.__call__, [5]

    async def dying(self, *given):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return await learn(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(gradient, "__call__", dying)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", budget)
    run(tmp_path / "cut", budget)
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")


# -- statistics


def test_one_seed_is_a_paired_t_test_over_problems():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, (1, 50)), rng.normal(0, 1, (1, 50))
    mean, stderr, p = difference(a, b)
    from scipy.stats import ttest_1samp  # slow to import

    known = ttest_1samp((a - b)[0], 0)
    assert mean == pytest.approx((a - b).mean()) and p == pytest.approx(known.pvalue)
    assert stderr == pytest.approx((a - b)[0].std(ddof=1) / np.sqrt(50))


@pytest.mark.parametrize("seed_spread, problem_spread", [(0.0, 1.0), (0.1, 1.0), (0.3, 0.2)])
def test_equal_methods_are_told_apart_no_more_often_than_they_may_be(seed_spread, problem_spread):
    """Training moves a seed, problems move each other: with no true difference p < 0.05 in at most about 5%
    of 400 comparisons.
    """
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        a, b = (rng.normal(0, seed_spread, (3, 1)) + rng.normal(0, problem_spread, (3, 60)) for _ in range(2))
        found.append(difference(a, b)[2] < 0.05)
    assert np.mean(found) < 0.07


def test_a_large_difference_is_found():
    rng = np.random.default_rng(2)
    found = [
        difference(rng.binomial(1, 0.6, (3, 256)), rng.binomial(1, 0.4, (3, 256)))[2] < 0.05
        for _ in range(50)
    ]
    assert np.mean(found) > 0.9


def test_nothing_that_varies():
    assert difference(np.ones((2, 3)), np.ones((2, 3))) == (0.0, 0.0, 1.0)
    assert difference(np.ones((2, 3)), np.zeros((2, 3))) == (1.0, 0.0, 0.0)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_verdicts_name_the_better_one_and_what_it_costs():
    rng = np.random.default_rng(0)
    good = Runs(
        Entry.parse("self_consistency,n=8"),
        reports(rng.binomial(1, 0.9, (2, 200))),
        costs=[{"exam": {"generated": 8000}}] * 2,
    )
    bad = Runs(
        Entry.parse("self_consistency,n=2"),
        reports(rng.binomial(1, 0.2, (2, 200))),
        costs=[{"exam": {"generated": 2000}}] * 2,
    )
    same = dataclasses.replace(bad, entry=Entry.parse("self_consistency,n=3"))
    found = judged([bad, good, same], "t", "m", None, "accuracy", 10)
    first, second, third = found.verdicts()
    assert first.startswith(
        "self_consistency,n=8 better than self_consistency,n=2, at 4.0 times its tokens (+0."
    )
    assert second.startswith(
        "self_consistency,n=2 and self_consistency,n=3: undecided at this budget (+0.000"
    )
    assert third.startswith("self_consistency,n=8 better than self_consistency,n=3")
    assert found.table().splitlines()[2].startswith("| self_consistency,n=8 | 0.")
    assert json.loads(found.as_json())["pairs"][0]["decided"] is True


def test_nobody_wins_by_failing_at_hard_problems():
    """Both are right at 120 of 200 problems; the one fails at the other 80, so that nobody can judge them."""
    honest = np.concatenate(
        [np.ones((2, 110)), np.zeros((2, 10)), np.repeat([[1.0, 0.0]], 2, 0).repeat(40, 1)], 1
    )
    fails = np.concatenate([np.ones((2, 120)), np.full((2, 80), np.nan)], 1)
    names = ("self_consistency,n=2", "self_consistency,n=3")
    runs = [
        Runs(Entry.parse(n), reports(v), costs=[{"exam": {"generated": 100}}] * 2)
        for n, v in zip(names, (honest, fails), strict=True)
    ]
    found = judged(runs, "t", "m", None, "accuracy", 10)
    assert difference(runs[0].values("accuracy"), runs[1].values("accuracy"))[2] < 0.05, (
        "over what both were judged on it seems better"
    )
    assert not found.differences[0].decided
    lines = str(found).splitlines()
    assert any(
        "80 of 200 problems were not judged in every run: the table is of the other 120" in line
        for line in lines
    )
    assert (
        "self_consistency,n=3: 80 not judged, accuracy over all 200 from 0.600 (if these are wrong) to "
        "1.000 (if right)" in lines
    )
    assert json.loads(found.as_json())["methods"][1]["unjudged"] == 80


def test_what_nobody_could_judge_is_left_out_without_a_word():
    values = np.array([[1.0, 0, np.nan], [0, 1, np.nan]])
    runs = [
        Runs(Entry.parse(f"self_consistency,n={n}"), reports(values), costs=[{"exam": {"generated": 1}}] * 2)
        for n in (2, 3)
    ]
    assert not judged(runs, "t", "m", None, "accuracy", 10).left_out()


def test_who_spent_more_than_the_budget_is_named():
    rng = np.random.default_rng(0)
    costs = [[{"search": {"generated": n}, "exam": {"generated": 900}}] * 2 for n in (109, 150)]
    runs = [
        Runs(Entry.parse(name), reports(rng.binomial(1, 0.5, (2, 20))), costs=cost)
        for name, cost in zip(("grpo", "star"), costs, strict=True)
    ]
    *_, said = str(judged(runs, "t", "m", Budget("tokens", 100.0), "accuracy", 10)).splitlines()
    assert said.startswith("star spent 150 where the budget was tokens=100")
    assert not judged(runs, "t", "m", Budget("tokens", 150.0), "accuracy", 10).overspent()


def test_curves_are_steps_read_at_the_same_places():
    curves = [[(0, 0.2), (30, 0.4), (90, 0.1)], [(0, 0.4), (50, 0.6)]]
    values = on_grid(curves, np.array([0.0, 29, 30, 50, 90, 100]))
    assert values.tolist() == [[0.2, 0.2, 0.4, 0.4, 0.1, 0.1], [0.4, 0.4, 0.4, 0.6, 0.6, 0.6]]
    points = bands("m", curves, 100, 1, "tokens").points
    assert (
        points[0].y == pytest.approx(0.3)
        and points[0].stderr == pytest.approx(0.1)
        and points[-1].y == pytest.approx(0.35)
    )
    assert np.isnan(on_grid([[(10, 0.5)]], np.array([0.0, 10]))).tolist() == [[True, False]]


def test_the_page_of_a_comparison_says_what_it_says(tmp_path):
    rng = np.random.default_rng(0)
    runs = [
        Runs(
            Entry.parse(name),
            reports(rng.binomial(1, right, (2, 200))),
            reports(rng.binomial(1, 0.1, (2, 200))),
            [{"search": {"generated": 90}}] * 2,
            [[(0, 0.1), (90, right)], [(0, 0.2), (80, right)]],
        )
        for name, right in (("grpo", 0.3), ("star", 0.9), ("rloo", 0.3))
    ]
    found = judged(runs, "<i>task</i>", "m", Budget("tokens", 100), "accuracy", 10)
    page = Page(write_comparison(found, tmp_path).read_text())
    assert page.count("figure", class_="card") == 2 and page.count("table") == 1 and page.count("i") == 0, (
        "each beside the first; escaped"
    )
    for words in found.verdicts():
        assert words in page.says
    assert page.count("polygon", class_="band c1") == page.count("polygon", class_="band c2") == 2
    still = judged([dataclasses.replace(some, curves=[]) for some in runs], "t", "m", None, "accuracy", 10)
    assert "against tokens drawn for a problem" in Page(write_comparison(still, tmp_path).read_text()).says


# -- as a user


SHORT = ["--task", "arithmetic", "--task.shots", "1", "--seeds", "2", "--test", "3", "--gate", "2"]
KNOBS = "problems=2,n=2,max_tokens=4,temperature=1.0"


def test_learning_methods_are_run_reused_and_gone_on_with(model, tmp_path, capsys):
    words = [
        "compare",
        f"grpo,{KNOBS}",
        f"star,{KNOBS}",
        f"grpo,{KNOBS},lr=1e-4",
        "--model",
        model,
        "--budget",
        "tokens=60",
        "--out",
        str(tmp_path),
        "--json",
        *SHORT,
    ]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "3 methods x 2 seeds = 6 runs: tokens=60 each, 360 tokens together; about " in said.err
    assert (tmp_path / "comparison.html").exists()
    first = json.loads(said.out.strip().splitlines()[-1])
    for curve in [curve for m in first["methods"] for curve in m["curves"]]:
        assert curve[0][0] == 0 and all(a[0] < b[0] <= 60 for a, b in pairwise(curve)) and len(curve) > 1
    assert [m["method"] for m in first["methods"]] == words[1:4] and len(first["pairs"]) == 3
    assert all(0 < cost["search"]["generated"] <= 60 for m in first["methods"] for cost in m["costs"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("events.jsonl")}
    assert len(before) == 6
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out.strip().splitlines()[-1]) == first
    assert {path: path.read_bytes() for path in before} == before


def test_a_budget_of_seconds_has_curves_too(model, tmp_path, capsys):
    words = [
        "compare",
        f"grpo,{KNOBS}",
        f"rloo,{KNOBS}",
        "--model",
        model,
        "--budget",
        "seconds=1",
        "--out",
        str(tmp_path),
        "--json",
        *SHORT,
    ]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    for curve in [curve for m in found["methods"] for curve in m["curves"]]:
        assert curve[0][0] == 0 and all(a[0] < b[0] for a, b in pairwise(curve)) and len(curve) > 1
    assert "polyline" in (tmp_path / "comparison.html").read_text()


def test_methods_that_learn_nothing_are_compared_beside_their_tokens(model, tmp_path, capsys):
    words = [
        "compare",
        "self_consistency,n=2,max_tokens=4",
        "self_consistency,n=6,max_tokens=4",
        "--model",
        model,
        "--out",
        str(tmp_path),
        *SHORT,
    ]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert first.count("| self_consistency,n=") == 2 and "undecided" in first
    assert len(list(tmp_path.rglob("report.json"))) == 4
    assert main(words) == 0
    assert capsys.readouterr().out == first
    assert main([*words, "--test", "2"]) == 2
    assert "holds an exam of something else" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, why",
    [
        (["grpo"], "two methods or more"),
        (["grpo", "grpo"], "each once"),
        (["grpo", "self_consistency"], "compare them apart"),
        (["grpo", "grop"], "did you mean grpo"),
        (["grpo", "star,x=1"], "knob of star"),
        (["grpo", "star,n"], "KNOB=VALUE"),
        (["grpo", "star", "--budget", "3"], "a budget is"),
        (["grpo", "star", "--seeds", "0"], "one seed or more"),
    ],
)
def test_what_cannot_be_compared_says_why(words, why, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words, "--model", "nano"]) == 2
    assert why in capsys.readouterr().err


def test_several_numbers_and_text_are_knobs():
    assert Entry.parse("tree_grpo,n=4x2,max-tokens=8").knobs == {"n": (4, 2), "max_tokens": 8}
