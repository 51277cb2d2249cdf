"""What a person should be told about a run, from its events alone: one sentence each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from surpass.gates import paired_values

WEAK = 0.5  # share of the winning answer below which a vote is called weak
FLAT = 0.2  # share of its first value below which entropy is called collapsed
CUT = 0.5  # share of attempts cut off above which a limit is called too low
NEAR = 1 / 2  # share of its limit above which draw_gap is told of
# mean |beta z| below which every pair still pulls within 1% of what it began with: tanh(|beta z| / 2)
UNMOVED = 0.02
# share of attempts, or of an exam's problems, that nobody judged above which figures are of something else
UNJUDGED = 0.1
SURE = 2.0  # standard errors


def alarms(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """In this order: weak votes, rewards without spread, entropy that collapsed, attempts cut off or failed,
    draws that the learner scores otherwise, what was not judged, a reward that rises while accuracy falls,
    nothing to learn from, preferences that do not move.
    """
    searches = [event for event in events if event["event"] == "search"]
    learnt = [event for event in events if event["event"] == "learn"]
    if not searches:
        return []
    found = []
    first, last = searches[0], searches[-1]
    share = _number(first.get("vote_share"))
    if share < WEAK:
        found.append(
            f"Votes are weak: at the start the winning answer held {share:.2f} of a problem's vote on "
            "average. Votes below about a half are often wrong, and learning from wrong votes makes "
            "answers worse (docs/no-labels.md)."
        )
    moved = {
        event["round"] for event in learnt if _number(event.get("grad_norm")) > 0
    }  # equal rewards are no matter to imitation
    flat = [
        _number(event.get("frac_reward_zero_std")) == 1.0 and event["round"] not in moved
        for event in searches
    ]
    if flat[0]:
        times = "in every round so far" if all(flat) else "in the first round"
        found.append(
            f"All rewards within a problem were equal {times}: there was nothing to learn. Try a higher "
            "temperature, more attempts a problem, easier or harder problems, or look at the attempts: "
            "the answer may not be stated as the check wants it."
        )
    before, now = _number(first.get("entropy")), _number(last.get("entropy"))
    if before > 0 and now < FLAT * before:
        found.append(
            f"Attempts became all alike: entropy fell from {before:.3f} to {now:.3f} nats a token, and "
            "with it what can still be learnt. Try a lower lr, fewer rounds, or a higher temperature."
        )
    if _number(last.get("completions/clipped_ratio")) > CUT:
        found.append(
            f"{last['completions/clipped_ratio']:.0%} of the last round's attempts were cut off at "
            "their limit of tokens, and what is cut off can hardly be right. Give more with "
            "--max-tokens, or look at what they go on about."
        )
    failed, leaves = (
        sum(event.get(name) or 0 for event in searches) for name in ("failed_attempts", "leaves")
    )
    if failed:
        found.append(
            f"{failed} of {leaves} attempts failed: the model gave nothing that could be judged. They "
            "count neither as right nor as wrong; the report says of each why."
        )
    apart = [
        event
        for event in learnt
        if _number(event.get("draw_gap")) > NEAR * _number(event.get("draw_gap_limit"))
    ]
    if apart:
        worst = max(apart, key=lambda event: event["draw_gap"])
        found.append(
            f"In round {worst['round']} the learner's log-probabilities were {worst['draw_gap']:.2g} "
            f"nats a token from those at the draw, and above {worst['draw_gap_limit']:g} a run ends: "
            "the model hardly computes again what it drew. Try --dtype float32, or look for what "
            "differs between drawing and learning (docs/troubleshooting.md)."
        )
    if (share := _number(last.get("unjudged")) / max(1, _number(last.get("leaves")))) > UNJUDGED and _number(
        last.get("reward")
    ) == _number(last.get("reward")):
        found.append(
            f"{share:.0%} of the last round's attempts could not be judged; the reward is of the "
            "others, and nothing was learnt from these. If it is the hard problems that cannot be "
            "judged, both look better than they are. Read the attempts."
        )
    if (share := _number(last.get("verdicts_unread")) / max(1, _number(last.get("verdicts")))) > UNJUDGED:
        found.append(
            f"{share:.0%} of the judge's {last.get('verdicts', 0)} verdicts in the last round hold no "
            "score that could be read: they count for nothing. Read what it says (beside the attempts, "
            "aside); a larger model, or a shorter prompt, may judge as it is asked to."
        )
    for exam in _grown_unjudged(events):
        m = exam["metrics"]["accuracy"]
        found.append(
            f"In the {exam['split']} exam of round {exam['round']} {m['missing']} of "
            f"{m['n'] + m['missing']} problems could not be judged, more than at the start; accuracy is "
            "of the others."
        )
    rose, fell = _rose(first, last), _fell(_kept(events))
    if rose and fell:
        found.append(
            f"The reward that is learnt from rose by {rose:.3f} while accuracy on held-out problems "
            f"fell by {fell:.3f}, both by more than {SURE:.0f} standard errors: the model learns to "
            "please the reward rather than to be right. Read the attempts."
        )
    if learnt and all(not event.get("examples") for event in learnt):
        found.append(
            "No round found an example worth learning from, so the weights are those of the start. "
            "Where problems have no answers, or no attempt is ever right, a reward gives nothing to "
            "learn from; docs/no-labels.md says what can."
        )
    margins = [
        _number(event["rewards/abs_margins"])
        for event in learnt
        if event.get("rewards/abs_margins") is not None
    ]
    if margins and max(margins) < UNMOVED:
        found.append(
            "Preferences stayed where they begin: mean |margin| (rewards/abs_margins) was at most "
            f"{max(margins):.2g} in every round so far. There the loss is a plain policy gradient: "
            "neither its reference nor beta nor how sure a pair is changes the update. Try a higher "
            "lr, more --epochs, or more problems a round in more --updates."
        )
    return found


def _grown_unjudged(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last exam of each split in which the share not judged is over UNJUDGED above the first exam's."""

    def share(exam: Mapping[str, Any]) -> float:
        m = exam.get("metrics", {}).get("accuracy", {})
        return _number(m.get("missing")) / max(1, _number(m.get("missing")) + _number(m.get("n")))

    found = []
    for split in ("gate", "test"):
        exams = [event for event in events if event["event"] == "exam" and event.get("split") == split]
        if len(exams) > 1 and share(exams[-1]) > share(exams[0]) + UNJUDGED:
            found.append(exams[-1])
    return found


def _kept(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The gate's exams of the start and of what was kept."""
    kept = {event["round"] for event in events if event["event"] == "gate" and event.get("keep")} | {0}
    return [
        event
        for event in events
        if event["event"] == "exam" and event.get("split") == "gate" and event["round"] in kept
    ]


def _rose(first: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    """How much the reward rose from the first round to the last; 0 unless clearly."""
    by = _number(last.get("reward")) - _number(first.get("reward"))
    error = math.hypot(_number(first.get("reward_stderr")), _number(last.get("reward_stderr")))
    return by if by > SURE * error else 0.0


def _fell(exams: Sequence[Mapping[str, Any]]) -> float:
    """How much accuracy fell from the first exam to the last, over the problems of both; 0 unless clearly."""
    if len(exams) < 2:
        return 0.0
    before, now = (
        {p: v for p, v in exam.get("rows", {}).get("accuracy", []) if v is not None}
        for exam in (exams[0], exams[-1])
    )
    change, error, _ = paired_values(before, now)
    return -change if change < -SURE * error else 0.0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
