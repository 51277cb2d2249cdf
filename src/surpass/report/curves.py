"""How a run went, as charts: exams, reward, lengths, entropy, gradients, tokens and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from surpass.report.chart import Point, Series, bars, legend, line_chart
from surpass.report.markup import Html, fill, joined
from surpass.report.read import Mean, Run, number, thin
from surpass.report.words import amount, between, duration, plain

FEW_POINTS = 100  # in a chart that repeats what others show
MOST_POINTS = 300  # rounds drawn and listed; longer runs are thinned evenly
_COLUMNS = {
    "reward": "reward",
    "frac_reward_zero_std": "no spread",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut off",
    "entropy": "entropy",
    "failed": "failed",
    "unjudged": "not judged",
    "verdicts_unread": "verdicts not read",
}
_LEARNT = {"examples": "examples", "loss": "loss", "grad_norm": "gradient norm"}
_COUNTS = ("failed", "unjudged", "verdicts_unread", "examples")


def curves(run: Run) -> Html:
    """Every chart of a run, and their numbers as a folded table; "" before the first exam."""
    searches, learns = run.of("search"), run.of("learn")
    roles = list(dict.fromkeys(str(event.get("role", "")) for event in learns))[:2]
    by_role = [[event for event in learns if str(event.get("role", "")) == role] for role in roles]
    norms = [
        _series(events, "grad_norm", role, i + 1)
        for i, (role, events) in enumerate(zip(roles, by_role, strict=True))
    ]
    small = [
        _figure("Reward", "mean over a round's problems, ± standard error", [_series(searches, "reward")]),
        _held_out(run),
        _figure(
            "Completion length", "drawn tokens per attempt", [_series(searches, "completions/mean_length")]
        ),
        _figure("Entropy", "mean −log p of drawn tokens, in nats", [_series(searches, "entropy")]),
        _figure(
            "Distinct attempts",
            "share of a problem's attempts that are not copies of another",
            [_series(searches, "distinct")],
        ),
        _figure("Gradient norm", "before clipping, mean over a round's steps", norms),
        _spent("Tokens", run.tokens(), amount),
        _spent("Time", run.seconds, duration),
    ]
    grid = fill('<div class="grid-two">{}</div>', joined(small)) if any(small) else ""
    thinned = fill(
        '<p class="lead">{} of {} rounds are drawn, evenly spread.</p>', MOST_POINTS, len(searches)
    )
    return joined([thinned if len(searches) > MOST_POINTS else "", _exams(run), grid, _numbers(run)])


def _figure(title: str, words: str, series: Sequence[Series]) -> Html:
    """A card with one small chart; "" where nothing was measured."""
    known = [s for s in series if any(math.isfinite(p.y) for p in s.points)]
    if not known:
        return Html("")
    names = legend([(s.mark, s.colour, s.name) for s in known]) if len(known) > 1 else ""
    return _card(title, words, names, line_chart(f"{title} per round", known))


def _held_out(run: Run) -> Html:
    """The reward of each round, which is learnt from, beside the gate's exams, which it should raise."""
    if run.leading("gate") != "accuracy" or len(run.of("exam", split="gate")) < 2:
        return Html("")
    exams = Series("accuracy on held-out problems", colour=2)
    for event in thin(run.of("exam", split="gate"), FEW_POINTS):
        m = run.exam(event, "accuracy")
        exams.points.append(
            Point(
                event["round"], m.mean, m.stderr, f"round {event['round']}, gate: {between(m.mean, m.stderr)}"
            )
        )
    words = (
        "the reward that is learnt from, and the exams; where one rises while the other falls, read the "
        "attempts"
    )
    return _figure(
        "Reward against accuracy", words, [_series(thin(run.of("search"), FEW_POINTS), "reward"), exams]
    )


def _card(title: str, words: str, *inside: Any) -> Html:
    return fill(
        '<figure class="card"><figcaption>{}<span>{}</span></figcaption>{}</figure>',
        title,
        words,
        joined(inside),
    )


def _spent(title: str, amounts: Mapping[str, float], say: Callable[[float], str]) -> Html:
    """A card with one bar per phase, longest first."""
    amounts = dict(sorted(amounts.items(), key=lambda item: -item[1]))
    return (
        _card(title, f"by phase, {say(sum(amounts.values()))} together", bars(amounts, say))
        if amounts
        else Html("")
    )


def _series(events: Sequence[Mapping[str, Any]], field: str, name: str = "", colour: int = 1) -> Series:
    """One figure over the rounds, with its standard error if known; missing values leave gaps."""
    points = []
    for event in thin(events, MOST_POINTS):
        y, error = number(event.get(field)), number(event.get(f"{field}_stderr"))
        points.append(Point(event["round"], y, error, f"round {event['round']}: {between(y, error)}"))
    return Series(name or field, points, colour=colour)


def _exams(run: Run) -> Html:
    """The exams over the rounds: kept and refused gate exams, and the two test exams."""
    verdicts, tests, metric = run.verdicts(), run.of("exam", split="test"), run.leading("gate")
    kept, refused = Series("kept", tail=False), Series("refused", mark="hollow", line=False, tail=False)
    test = Series("test", mark="diamond", colour=2, line=False, tail=False)
    for event in thin(run.of("exam", split="gate"), MOST_POINTS):
        m, r, keep = (
            run.exam(event, metric),
            event["round"],
            verdicts.get(event["round"], event["round"] == 0),
        )
        words = "start" if r == 0 else "kept" if keep else "refused"
        tip = f"round {r}, gate, {words}: {between(m.mean, m.stderr)}, n = {m.n}{_missing(m)}"
        (kept if keep else refused).points.append(Point(r, m.mean, m.stderr, tip))
    if len(kept.points) > 1:
        kept.points[-1] = kept.points[-1]._replace(label=plain(kept.points[-1].y))
    for i, event in enumerate([*tests[:1], *tests[1:][-1:]]):
        m, tip = run.exam(event, metric), f"test, {('start', 'end')[i]}: "
        tip += f"{between(m.mean, m.stderr)}, n = {m.n}{_missing(m)}"
        test.points.append(
            Point(event["round"], m.mean, m.stderr, tip, (-20, 20)[i], plain(m.mean), ("left", "right")[i])
        )
    series, whole = [kept, refused, test], (0.0, 1.0) if metric in ("accuracy", "agreement") else None
    full, narrow = (
        line_chart(f"{metric} per round", series, size, whole, (76, 16)) for size in ((1030, 330), (460, 300))
    )
    names = legend(
        [
            ("dot", 1, "gate, kept"),
            ("hollow", 1, "gate, refused"),
            ("diamond", 2, "test, at the start and the end"),
        ]
    )
    words = "exams, ± standard error over problems"
    if metric == "agreement":
        words += "; the share of attempts that state the commonest answer, right or wrong"
    both = fill('<div class="full">{}</div><div class="narrow">{}</div>', full, narrow)
    return _card(metric[:1].upper() + metric[1:], words, names, both) if full else Html("")


def _missing(m: Mean) -> str:
    return f", {m.missing} not judged" if m.missing else ""


def _numbers(run: Run) -> Html:
    """The charts as a table, folded."""
    searches, learns = run.of("search"), {event["round"]: event for event in reversed(run.of("learn"))}
    metric = run.leading("gate")
    gates = {event["round"]: run.exam(event, metric) for event in run.of("exam", split="gate")}
    if not searches:
        return Html("")
    rows = []
    for event in thin(searches, MOST_POINTS):
        r = event["round"]
        values = [_cell(event, field) for field in _COLUMNS] + [
            _cell(learns.get(r, {}), field) for field in _LEARNT
        ]
        values.append(between(*gates[r][:2]) + _missing(gates[r]) if r in gates else "")
        rows.append(
            fill(
                '<tr><th scope="row">{}</th>{}</tr>',
                r,
                joined(fill("<td>{}</td>", value) for value in values),
            )
        )
    heads = [
        fill('<th scope="col">{}</th>', name)
        for name in ("round", *_COLUMNS.values(), *_LEARNT.values(), "gate exam")
    ]
    return fill(
        '<details class="more"><summary>The numbers of every round</summary>'
        '<div class="wide" tabindex="0" role="region" aria-label="Numbers">'
        '<table class="numbers"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>',
        joined(heads),
        joined(rows),
    )


def _cell(event: Mapping[str, Any], field: str) -> str:
    value = number(event.get(field))
    return amount(value) if field in _COUNTS and math.isfinite(value) else plain(value)
