"""The figures of a round and of an exam, as events and reports hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surpass.searches.round import failure
from surpass.types import FAILED, LENGTH, Report, Row, Tree
from surpass.verdicts import unread


def round_figures(trees: Sequence[Tree], score: str | None) -> dict[str, Any]:
    """The figures of a round's trees, in TRL's names where it has some.

    reward, reward_stderr  mean over problems of a problem's mean, and its standard error
    reward_std             spread within a problem, mean over problems; frac_reward_zero_std: share with none
    entropy                mean of -log p over drawn tokens, an estimate in nats
    vote_share             with votes, the winner's share, mean over problems
    distinct               share of attempts that are not copies of another, mean over problems with several
    verdicts               with a judge, how many it gave; verdicts_unread: how many state no score
    failed                 searches that failed; failed_attempts, which are in no other figure
    """
    figures: dict[str, Any] = {"problems": len(trees), "leaves": sum(len(tree.leaves()) for tree in trees)}
    figures["failed"] = sum(failure(tree) is not None for tree in trees)
    if failed := sum(int((tree.stop[tree.leaves()] == FAILED).sum()) for tree in trees):
        figures["failed_attempts"] = failed
    if score is not None:
        scored = [np.asarray(tree.get(score).values, float) for tree in trees]
        known = [values[~np.isnan(values)] for values in scored]
        means = np.array([values.mean() for values in known if len(values)])
        spreads = np.array([values.std() for values in known if len(values)])
        figures["unjudged"] = int(sum(np.isnan(values).sum() for values in scored))
        if len(means):
            figures |= {
                "reward": float(means.mean()),
                "reward_std": float(spreads.mean()),
                "frac_reward_zero_std": float((spreads == 0).mean()),
            }
            figures["reward_stderr"] = (
                float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None
            )
    missed, asked = unread(trees)
    if asked:
        figures |= {"verdicts": asked, "verdicts_unread": missed}
    votes = [tree.get("vote").values for tree in trees if tree.has("vote")]
    if votes:
        figures["vote_share"] = float(
            np.mean([np.nanmax(v) if len(v) and not np.isnan(v).all() else 0.0 for v in votes])
        )
    lengths, ends, logp, distinct = [], [], [], []
    for tree in trees:
        nodes = [tree.drawn(node)[0] for node in range(len(tree)) if not tree.aside[node]]
        logp.append(np.concatenate([own[~np.isnan(own)] for own in nodes] or [np.zeros(0)]))
        ended = [leaf for leaf in tree.leaves() if tree.stop[leaf] != FAILED]
        for leaf in ended:
            drawn = [node for node in tree.dialogue(leaf) if tree.author[node] != "task"]
            lengths.append(sum(tree.length(node) for node in drawn))
            ends.append(tree.stop[leaf] == LENGTH)
        if len(ended) > 1:
            said = {
                tuple((tree.author[i], tree.own(i).tobytes(), tree.text[i]) for i in tree.dialogue(leaf))
                for leaf in ended
            }
            distinct.append(len(said) / len(ended))
    # per attempt
    for name in sorted({name for tree in trees for name in tree.columns if name.startswith("count/")}):
        counted = [
            np.nansum(tree.get(name).values[tree.attempt(leaf)])
            for tree in trees
            if tree.has(name)
            for leaf in tree.leaves()
        ]
        figures[name] = float(np.sum(counted) / max(1, figures["leaves"]))
    if sum(map(len, logp)):
        figures["entropy"] = float(-np.concatenate(logp).astype(float).mean())
    if distinct:
        figures["distinct"] = float(np.mean(distinct))
    if lengths:
        figures |= {
            "completions/mean_length": float(np.mean(lengths)),
            "completions/clipped_ratio": float(np.mean(ends)),
        }
    return figures


def exam_event(round: int, split: str, report: Report) -> dict[str, Any]:
    """An exam's metrics, and by problem the values of those that are compared in pairs (nan: not judged)."""
    pairs = {}
    for name in ("accuracy", "agreement"):
        if name in report.metrics:
            known = report.by_problem(name)
            pairs[name] = [
                (p, known.get(p, math.nan))
                for p in dict.fromkeys(r.problem for r in report.rows if r.metric == name)
            ]
    return {"event": "exam", "round": round, "split": split, "metrics": report.metrics, "rows": pairs}


def report_json(report: Report) -> dict[str, Any]:
    """A report as JSON, without its cost."""
    return {"name": report.name, "rows": [list(row) for row in report.rows], "info": report.info}


def report_from(data: Mapping[str, Any]) -> Report:
    """The report that `report_json` wrote."""
    rows = [
        Row(problem, sample, metric, math.nan if v is None else v)
        for problem, sample, metric, v in data["rows"]
    ]
    return Report(data["name"], rows, info=data["info"])
