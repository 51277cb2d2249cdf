"""What a model can do before it learns, and whether it knows: is a task worth training on?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from surpass.means import measured, right
from surpass.measures.answers import exam_trees
from surpass.models import Models
from surpass.parts import Task
from surpass.prompts import RIGHT
from surpass.rewards import certainty, check, verdict
from surpass.searches import samples
from surpass.types import Report, Row


def auc(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """(AUC, its standard error): the probability that a right attempt scores higher than a wrong one; ties
    count half.

    scores float[n], right bool[n]. DeLong et al. 1988: X_i is the share of wrong attempts below right attempt
    i, Y_j the share of right attempts above wrong attempt j, and the variance is var(X) / n_right + var(Y) /
    n_wrong. nan if there are fewer than two of either.

    >>> value, error = auc(np.array([0.9, 0.6, 0.7, 0.1]), np.array([True, True, False, False]))
    >>> round(value, 3), round(error, 3)
    (0.75, 0.354)
    """
    from scipy.stats import rankdata  # slow to import

    yes, no = scores[right], scores[~right]
    m, n = len(yes), len(no)
    if min(m, n) < 2:
        return math.nan, math.nan
    ranks = rankdata(np.concatenate([yes, no]))
    x = (ranks[:m] - rankdata(yes)) / n
    y = 1 - (ranks[m:] - rankdata(no)) / m
    return float(x.mean()), float(math.sqrt(x.var(ddof=1) / m + y.var(ddof=1) / n))


@dataclass(frozen=True)
class skills:
    """Per problem: greedy (right at temperature 0), pass@1 (the share of `k` attempts at temperature 1 that
    are right), pass@k (whether any is) and reward@1 (their mean value). info["auc"] says how well the model's
    certainty, and its verdict, separate right from wrong problems, with one sampled attempt each: (AUC,
    standard error). It uses up to `more` times as many problems, because its error falls slowly.

    `n` problems of a split, the same in every run. Right means worth at least 1. If some attempts at a
    problem cannot be judged, it has no pass@1, and a pass@k only if a judged one is right. info["judged"] is
    the number of attempts behind each AUC.
    """

    n: int = 512
    k: int = 16
    max_tokens: int = 192
    turns: int = 32
    more: int = 4
    role: str = "policy"
    needs = frozenset({"logprobs"})

    async def __call__(self, models: Models, task: Task, split: str, seed: int) -> Report:
        report = Report("skills", info={"split": split, "k": self.k})
        greedy = await exam_trees(
            samples(1, 0.0, self.max_tokens, turns=self.turns, role=self.role),
            models,
            task,
            split,
            self.n,
            seed,
        )
        for tree, column in zip(greedy, await check(self.role)(models, task, greedy), strict=True):
            report.rows.append(Row(tree.problem.id, 0, "greedy", _right(column.values)[0]))
        drawn = await exam_trees(
            samples(self.k, 1.0, self.max_tokens, turns=self.turns, role=self.role),
            models,
            task,
            split,
            self.n,
            seed,
        )
        values = [column.values for column in await check(self.role)(models, task, drawn)]
        for tree, some in zip(drawn, values, strict=True):
            right = _right(some)
            figures = {"pass@1": right.mean(), f"pass@{self.k}": any_right(right), "reward@1": some.mean()}
            report.rows += [Row(tree.problem.id, 0, name, float(value)) for name, value in figures.items()]
        first = await exam_trees(
            samples(1, 1.0, self.max_tokens, turns=self.turns, role=self.role),
            models,
            task,
            split,
            self.more * self.n,
            seed + 1,
        )
        right = np.array([_right(column.values)[0] for column in await check(self.role)(models, task, first)])
        report.info["auc"], report.info["judged"] = {}, int((~np.isnan(right)).sum())
        for name, score in (
            ("certainty", certainty(self.role, self.role)),
            ("verdict", _asked(models, self.role)),
        ):
            scores = np.array([column.values[0] for column in await score(models, task, first)], float)
            known = ~np.isnan(scores) & ~np.isnan(right)
            report.info["auc"][name] = auc(scores[known], right[known] > 0)
        return report


def _asked(models: Models, role: str) -> verdict:
    """The verdict in words that begin with different tokens of this model: the tiny models' <yes> and <no>,
    else Yes and No.
    """
    for yes, no in (("<yes>", "<no>"), ("Yes", "No")):
        if models.encode(role, yes)[0] != models.encode(role, no)[0]:
            return verdict(
                role, RIGHT if yes == "<yes>" else f"Is this right? Answer {yes} or {no}.", yes, no
            )
    return verdict(role, "Is this right? Answer yes or no.", "yes", "no")


def any_right(right: np.ndarray) -> float:
    """1.0 if any value is 1; else nan if one is not known; else 0.0.

    >>> any_right(np.array([np.nan, 1.0])), any_right(np.array([np.nan, 0.0])), any_right(np.zeros(2))
    (1.0, nan, 0.0)
    """
    return 1.0 if (right == 1).any() else float("nan") if np.isnan(right).any() or not len(right) else 0.0


def _right(values: Any) -> np.ndarray:
    """1.0 if a value is at least 1, 0.0 below, nan if it is not known."""
    values = np.asarray(values, float)
    return np.array([right(value) for value in values])


def table(reports: Mapping[str, Report], k: int) -> str:
    """A Markdown table with a line per task: mean +- standard error of each figure, and each AUC with the
    lower end of its 95% interval.
    """

    def figure(report: Report, name: str) -> str:
        return measured(name, report.metrics[name]).replace("+-", "±").partition("   (")[0]

    def separates(report: Report, name: str) -> str:
        value, error = report.info["auc"][name]
        return f"{value:.3f} (> {value - 1.96 * error:.3f})" if value == value else "-"

    lines = [
        f"| task | n | greedy | pass@1 | pass@{k} | n judged | certainty AUC | verdict AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, report in reports.items():
        figures = [figure(report, metric) for metric in ("greedy", "pass@1", f"pass@{k}")]
        figures += [str(report.info["judged"])] + [
            separates(report, score) for score in ("certainty", "verdict")
        ]
        lines.append(f"| {name} | {report.metrics['greedy']['n']} | {' | '.join(figures)} |")
    return "\n".join(lines)


def fit(report: Report, k: int) -> list[str]:
    """Why a task is not fit to show what methods do with this model; empty if it is. Fit means: greedy
    accuracy between 0.25 and 0.75; pass@k at least three standard errors (of the difference, by problem)
    above pass@1; the lower 95% bound of both AUCs above 0.55.
    """
    why = []
    if not 0.25 <= report.mean("greedy") <= 0.75:
        why.append(f"greedy accuracy {report.mean('greedy'):.2f} is not between 0.25 and 0.75")
    once, any_of = report.by_problem("pass@1"), report.by_problem(f"pass@{k}")
    gains = np.array([any_of[problem] - once[problem] for problem in once if problem in any_of])
    if missing := report.metrics["greedy"]["missing"]:
        why.append(f"{missing} answers could not be judged")
    if not len(gains) > 1 or not gains.mean() > 3 * gains.std(ddof=1) / math.sqrt(len(gains)):
        why.append(f"pass@{k} is not above pass@1")
    for name, (value, error) in report.info["auc"].items():
        if not value - 1.96 * error > 0.55:
            why.append(f"{name} does not separate right from wrong")
    return why
