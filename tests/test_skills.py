"""What a model knows about its own attempts, how well that separates right from wrong, and games of several
players.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surpass.cli import main
from surpass.engines import LocalEngine, ScriptedEngine, TabularEngine
from surpass.errors import RunBroken, SurpassError, UnmetNeed
from surpass.figures import round_figures
from surpass.loop import evaluate
from surpass.measures import auc, fit, skills, table
from surpass.methods.best_of_n import best_of_n
from surpass.methods.grpo import grpo
from surpass.models import Models
from surpass.rewards import certainty, check, noisy_truth, verdict
from surpass.searches import refine, samples
from surpass.searches.round import search_all
from surpass.tasks import kgqa, kuhn, maze, question, tictactoe
from surpass.types import INVALID, Problem, Report, Row, Tree, Turn, fold


def drawn_tree(models: Models, prompt: str = "ab", n: int = 3, max_tokens: int = 4) -> Tree:
    async def go():
        tree = Tree(Problem("p", prompt), 7)
        root = models.open("policy", tree, prompt)
        await models.generate("policy", tree, root, n, max_tokens=max_tokens)
        return tree

    return models.run(go())


def test_certainty_is_the_formula_of_the_paper():
    """V = 4: -(1 / (n V)) sum over tokens and words of log(V p), by hand from the table's own logits."""
    engine = TabularEngine("abc", size=64, seed=3, scale=1.0)
    models = Models(policy=engine)
    tree = drawn_tree(models)
    (column,) = models.run(certainty()(models, None, [tree]))
    logits = engine.module["table"].detach().numpy().astype(float)
    for leaf, found in zip(tree.leaves(), column.values, strict=True):
        total, tokens = 0.0, list(tree.path_tokens(leaf))
        own = len(tree.own(leaf))
        for i in range(len(tokens) - own, len(tokens)):
            z = logits[engine.row(tokens[:i])]
            p = np.exp(z) / np.exp(z).sum()
            total += sum(math.log(4 * p[j]) for j in range(4))
        assert found == pytest.approx(-total / (4 * own), abs=1e-6)
        assert found > 0, "a mean of divergences"


def test_certainty_of_a_transformer_leaves_out_the_padding_of_its_vocabulary(nano, plain, tokenizer):
    """Rows of the vocabulary that no token has do not count: the same weights with 8 more rows give the same
    certainty.
    """
    small, large = nano(scale=0.3), plain(scale=0.3, vocab_size=72)
    with torch.no_grad():
        for (name, p), (_, q) in zip(small.causal.named_parameters(), large.named_parameters(), strict=True):
            if "embed" in name or "lm_head" in name:
                q.fill_(5.0)[: len(p)] = p
            else:
                q.copy_(p)
    models, wide = Models(policy=small), Models(policy=LocalEngine.of(large, tokenizer))
    tree = drawn_tree(models, "what is it", 2, 8)
    values = [m.run(certainty()(m, None, [tree]))[0].values for m in (models, wide)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-4)
    logits = (
        small.causal(input_ids=torch.from_numpy(tree.path_tokens(1).astype(np.int64))[None])
        .logits[0]
        .double()
        .log_softmax(-1)
    )
    own = len(tree.own(1))
    wanted = (-logits.mean(-1) - math.log(64))[-own - 1 : -1].mean()
    assert values[0][0] == pytest.approx(float(wanted.detach()), rel=1e-4)


def test_certainty_and_verdicts_are_refused_where_there_are_no_log_probs():
    models = Models(policy=ScriptedEngine(lambda text, key: "x"))
    method = best_of_n()
    for score in (certainty(), verdict()):
        with pytest.raises(UnmetNeed, match="log-probabilities"):
            models.run(
                evaluate(
                    replace(method, exam=replace(method.exam, scores={"reward": score})),
                    question("?"),
                    models,
                )
            )


def test_a_verdict_is_the_probability_of_yes_against_no(nano):
    engine = nano(scale=0.3)
    models = Models(policy=engine)
    tree = drawn_tree(models, "1+1", 3, 6)
    leaves = tree.leaves()
    (column,) = models.run(verdict(ask="ok?", yes="a", no="b")(models, None, [tree]))
    assert tree.leaves() == leaves, "what was asked stands aside"
    assert all(tree.aside[i] for i in range(len(tree)) if i > max(leaves))
    yes, no = engine.text.encode("a")[0], engine.text.encode("b")[0]
    for leaf, found in zip(leaves, column.values, strict=True):
        tokens = [*tree.path_tokens(leaf), *engine.text.tell("ok?", int(tree.path_tokens(leaf)[-1]))]
        logits = engine.causal(input_ids=torch.tensor([tokens])).logits[0, -1].double()
        assert found == pytest.approx(float(torch.sigmoid(logits[yes] - logits[no]).detach()), abs=1e-5)
    with pytest.raises(SurpassError, match="begin with the same token"):
        models.run(verdict(ask="ok?", yes="ab", no="ac")(models, None, [tree]))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=4, max_size=40))
def test_auc_is_the_share_of_pairs_in_the_right_order(rows):
    scores, right = np.array([s for s, _ in rows], float), np.array([r for _, r in rows])
    value, error = auc(scores, right)
    yes, no = scores[right], scores[~right]
    if min(len(yes), len(no)) < 2:
        assert math.isnan(value)
        return
    psi = (yes[:, None] > no).astype(float) + 0.5 * (yes[:, None] == no)
    assert value == pytest.approx(psi.mean())
    wanted = psi.mean(1).var(ddof=1) / len(yes) + psi.mean(0).var(ddof=1) / len(no)
    assert error == pytest.approx(math.sqrt(wanted))


def test_aucs_interval_covers_the_truth():
    """Two normals one apart: AUC = Phi(1 / sqrt 2) = 0.760; the 95% interval holds it about 95 times in 100."""  # noqa: E501
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        scores = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 90)])
        value, error = auc(scores, np.arange(150) < 60)
        inside += abs(value - 0.7602) < 1.96 * error
    assert 0.91 < inside / 400 < 0.98


def test_a_judge_of_known_noise_errs_as_often_and_says_the_same_again():
    task = maze(size=3, apart=2)
    problems = [p for p, _ in zip(task.problems("train", 0), range(300), strict=False)]
    moves = {p.asks: task.oracle.act(p, {}, Random(0)) for p in problems}
    models = Models(
        policy=ScriptedEngine(
            lambda text, key: next(v for k, v in moves.items() if k in text) if key % 2 else "U"
        )
    )
    trees = models.run(search_all(samples(2), models, task, problems, 0))
    truth = np.concatenate([c.values for c in models.run(check()(models, task, trees))]) == 1
    judge = noisy_truth(0.2)
    said, again = (
        np.concatenate([c.values for c in models.run(judge(models, task, trees))]) for _ in range(2)
    )
    wrong = (said != truth).mean()
    assert abs(wrong - 0.2) < 4 * math.sqrt(0.2 * 0.8 / len(said)) and (said == again).all()
    biased = np.concatenate([c.values for c in models.run(noisy_truth(0.0, bias=0.5)(models, task, trees))])
    assert biased.max() > 1 and ((biased - truth) >= 0).all()
    with pytest.raises(UnmetNeed, match="no oracle"):
        models.run(evaluate(_judged(), question("?"), models))


def _judged():
    method = best_of_n()
    return replace(method, exam=replace(method.exam, scores={"reward": noisy_truth()}))


# -- several players, counts


def test_two_players_have_a_context_each_and_alternate():
    """Kuhn poker on one model: nobody is shown the other's card, credit flows by cause, rewards are zero-sum."""  # noqa: E501
    task = kuhn(opponent="self")
    models = Models(
        policy=ScriptedEngine(lambda text, key: "bet" if "check or bet" in text[-60:] else "call")
    )
    problems = [p for p, _ in zip(task.problems("train", 0), range(20), strict=False)]
    trees = models.run(search_all(samples(2), models, task, problems, 0))
    for tree in trees:
        roots = [i for i in range(len(tree)) if tree.parent[i] == -1]
        assert tree.get("player").values[roots].tolist()[:1] == [0.0] and set(
            tree.get("player").values[roots]
        ) == {0.0, 1.0}
        for leaf in tree.leaves():
            whole = tree.history(leaf)
            assert len(whole) >= 4, "two openings, two moves"
            texts = ["".join(models.text("policy", tree, i, since=-1)) for i in (whole[1], leaf)]
            assert all(text.count("Card:") == 1 for text in texts)
            assert texts[0].split("Card: ")[1][0] != texts[1].split("Card: ")[1][0], "two cards of one deck"
            paid = [np.nansum(tree.get(f"reward/{player}").values[whole]) for player in task.players]
            assert paid[0] == -paid[1] != 0


@pytest.mark.parametrize("own", ["first", "second"])
def test_a_role_of_the_players_own_name_plays_it(own):
    task = tictactoe(opponent="self", opening=0)
    models = Models(
        policy=ScriptedEngine(lambda text, key: "5"), **{own: ScriptedEngine(lambda text, key: "1")}
    )
    (tree,) = models.run(search_all(samples(1), models, task, [next(task.problems("train", 0))], 0))
    drawn = [tree.author[i] for i in tree.history(tree.leaves()[0]) if tree.author[i] != "task"]
    assert drawn[:2] == (["first", "policy"] if own == "first" else ["policy", "second"])


def test_the_only_player_is_played_by_the_searchs_role():
    task = kgqa(hops=1, max_turns=3)
    silent = ScriptedEngine(lambda text, key: "what?")
    models = Models(policy=silent, teacher=silent)
    (tree,) = models.run(
        search_all(samples(1, role="teacher"), models, task, [next(task.problems("train", 0))], 0)
    )
    assert {author for author in tree.author if author != "task"} == {"teacher"}


class told_at_the_start:
    """Both players are told something before either moves."""

    players, branches = ("a", "b"), True

    async def start(self, models, problem):
        return Turn({"n": 0}, {"a": "you are a", "b": "you are b"}, "a")

    async def step(self, models, state, text):
        n = state["n"] + 1
        return Turn(
            {"n": n},
            {"b" if n % 2 else "a": f"{text} was said"},
            ("b" if n % 2 else "a") if n < 4 else None,
            {"a": 1.0, "b": -1.0},
        )

    async def check(self, models, problem, text):
        return 0.0


def test_who_moves_second_hears_what_was_said_at_the_start_and_is_paid_its_own():
    models = Models(policy=ScriptedEngine(lambda text, key: "x"))
    task = told_at_the_start()
    (tree,) = models.run(search_all(samples(1), models, task, [Problem("p", "")], 0))
    (leaf,) = tree.leaves()
    assert models.text("policy", tree, leaf, since=-1).startswith("user: you are b\nx was said\n")
    assert models.run(check()(models, task, [tree]))[0].values == [-4.0], (
        "b moved last, and is paid at every step"
    )


def test_only_the_last_attempt_of_a_refinement_is_paid_and_counted():
    task = kuhn(opponent="random", pays="win")
    models = Models(
        policy=ScriptedEngine(lambda text, key: "check" if "check or bet" in text[-70:] else "call")
    )
    search = refine("{question} {answer}", "{question} {answer} {feedback}", times=2)
    problems = [p for p, _ in zip(task.problems("train", 0), range(30), strict=False)]
    trees = models.run(search_all(search, models, task, problems, 0))
    values = {float(c.values[0]) for c in models.run(check()(models, task, trees))}
    assert values == {0.0, 1.0}
    with pytest.raises(RunBroken, match="has 2 players"):
        models.run(search_all(search, models, kuhn(opponent="self"), problems[:2], 0))


def test_counts_are_means_over_all_attempts():
    """One of two problems counts something: the mean is a half, not one."""

    class half(say_a):
        async def step(self, models, state, text):
            return Turn(state, counts={"odd": 1.0} if text == "a" else {})

    engine = ScriptedEngine(lambda text, key: "a" if int(text.split()[1]) % 2 else "b")
    report = Models(policy=engine)
    found = report.run(evaluate(replace(grpo(), learn=()), half(), report))
    assert found.metrics["count/odd"]["mean"] == 0.5 and found.metrics["count/odd"]["n"] == 256


def test_what_a_task_counts_is_reported():
    """Malformed calls are told so, counted in the report, and are no answers."""
    task = kgqa(hops=1, max_turns=3)
    models = Models(policy=ScriptedEngine(lambda text, key: "<call>find it</call>"))
    problem = next(task.problems("test", 0))
    (tree,) = models.run(search_all(samples(1), models, task, [problem], 0))
    leaf = tree.leaves()[0]
    assert tree.stop[leaf] == INVALID
    told = [
        models.text("policy", tree, i, since=int(tree.parent[i]))
        for i in tree.history(leaf)
        if tree.author[i] == "task"
    ]
    assert 'no tool "find", there is: search' in told[1]
    assert round_figures([tree], None)["count/malformed"] == 3.0
    assert round_figures([tree], None)["count/out_of_turns"] == 1.0
    method = best_of_n(n=1)
    report = models.run(evaluate(method, task, models))
    assert report.mean("count/malformed") == 3.0 and report.mean("accuracy") == 0.0


def test_rewards_paid_on_the_way_count_in_exams():
    task = tictactoe(opponent="random", opening=0)
    models = Models(policy=ScriptedEngine(lambda text, key: str(1 + fold(key, "x") % 9)))
    report = models.run(evaluate(best_of_n(n=1), task, models))
    assert 0 < report.mean("reward") < 1


# -- the table


class say_a:
    """Right is "a"; every problem is the same coin."""

    players, branches = ("policy",), True

    def problems(self, split, seed):
        for i in range(400):
            yield Problem(f"{split}-{i}", f"{i}", "a")

    async def start(self, models, problem):
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models, state, text):
        return Turn(state)

    async def check(self, models, problem, text):
        return float(text == "a")


def test_skills_of_a_known_player():
    """p(a) = p(b) = 1/2 everywhere: greedy takes "a", pass@1 is 1/2, pass@4 is 1 - 1/2^4, and nothing tells
    right from wrong.
    """
    engine = TabularEngine("ab" + "".join(c for c in map(chr, range(32, 127)) if c not in "ab"), size=64)
    with torch.no_grad():
        engine.module["table"].fill_(-30.0)[:, :2] = 0.0
    models = Models(policy=engine)
    report = models.run(skills(400, 4, 1)(models, say_a(), "test", 0))
    assert report.mean("greedy") == 1.0
    for name, wanted in (("pass@1", 0.5), ("pass@4", 0.9375), ("reward@1", 0.5)):
        m = report.metrics[name]
        assert m["n"] == 400 and abs(m["mean"] - wanted) < 4 * m["stderr"] and m["stderr"] < 0.03
    assert report.info["auc"]["certainty"][0] == pytest.approx(0.5) == report.info["auc"]["verdict"][0]


def test_what_makes_a_task_fit_and_its_line():
    report = Report(
        "skills", info={"judged": 400, "auc": {"certainty": (0.7, 0.02), "verdict": (0.57, 0.02)}}
    )
    for i in range(100):
        figures = {"greedy": float(i % 2), "pass@1": 0.4, "pass@4": float(i % 5 > 0)}
        report.rows += [Row(f"p{i}", 0, name, value) for name, value in figures.items()]
    assert fit(report, 4) == ["verdict does not separate right from wrong"]
    report.info["auc"]["verdict"] = (0.6, 0.02)
    assert fit(report, 4) == []
    text = table({"maze": report}, 4)
    assert (
        "| maze | 100 | 0.500 ± 0.050 | 0.400 ± 0.000 | 0.800 ± 0.040 | 400 | 0.700 (> 0.661) | 0.600 "
        "(> 0.561) |" in text
    )
    report.rows += [Row(f"q{i}", 0, "greedy", 1.0) for i in range(200)]
    assert fit(report, 4) == ["greedy accuracy 0.83 is not between 0.25 and 0.75"]


def test_eval_without_a_method_is_a_table(model, capsys):
    arguments = [
        "eval",
        "--model",
        model,
        "--task",
        "suite:maze,judge",
        "--limit",
        "4",
        "--k",
        "2",
        "--max-tokens",
        "4",
        "--json",
    ]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.strip().split("\n")
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["maze", "judge"]
    assert any(line.startswith("maze: greedy accuracy 0.00 is not between") for line in lines)
    found = json.loads(lines[-1])
    assert found["maze"]["metrics"]["pass@2"]["n"] == 4 and set(found["judge"]["auc"]) == {
        "certainty",
        "verdict",
    }
    assert main(["eval", "--model", model, "--limit", "-1"]) == 2
    assert "at least 1" in capsys.readouterr().err
    assert main(["eval", "--model", model, "--split", "train"]) == 2
    assert "test or gate" in capsys.readouterr().err
    assert main(["eval", "--model", model, "--task", "suite:chess"]) == 2
    assert 'no task "chess"; there are: arithmetic' in capsys.readouterr().err


def test_tasks_shows_samples_and_helps_with_mistakes(capsys):
    assert main(["tasks", "kuhn", "--task.opponent", "self", "--sample", "2", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert out.count("--- problem") == 2 and "task to second: Card: " in out
    for wrong in (
        ["tasks", "kuhn", "--samples", "2"],
        ["tasks", "kuhn", "--sample"],
        ["tasks", "kuhn", "--sample", "x"],
    ):
        assert main(wrong) == 2
        assert "usage: surpass tasks TASK" in capsys.readouterr().err
    assert main(["tasks", "kun"]) == 2
    assert "did you mean kuhn" in capsys.readouterr().err
    assert main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert "2 with --task.opponent self" in out and "Tools: search." in out and "--task.walls (0.3)" in out
