"""The result of a run, for people and for programs."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surpass.alarms import alarms
from surpass.files import quoted
from surpass.gates import paired, strict
from surpass.means import SHARES, all_bounds, measured
from surpass.store import as_line
from surpass.types import Report, frame


@dataclass
class Result:
    """The result of a run: test reports before and after, events, cost, and where it is stored."""

    before: Report
    after: Report
    events: list[dict[str, Any]]
    cost: dict[str, dict[str, int]]
    kept_round: int
    folder: Path | None = None
    page: Path | None = None
    system: dict[str, str] = field(default_factory=dict)  # by role, the system message that was kept

    def change(self, metric: str = "accuracy") -> dict[str, float]:
        """{"mean", "stderr", "n"} of after - before, paired over the test problems that were judged both
        times; n is 0 where no problem has a label.
        """
        mean, stderr, n = paired(self.before, self.after, metric)
        return {"mean": mean, "stderr": stderr, "n": n}

    @property
    def model(self) -> Path | None:
        """The folder of the kept weights; None if none were kept or stored."""
        folder = (
            self.folder / "weights" / f"{self.kept_round:04d}" / "policy"
            if self.folder and self.kept_round
            else None
        )
        return folder if folder and folder.exists() else None

    def to_pandas(self) -> Any:
        """A DataFrame with a row per round: figures of search and learning, and the gate's decision."""
        rounds: dict[int, dict[str, Any]] = {}
        for event in self.events:
            if event["event"] in ("search", "learn", "gate") and event["round"]:
                row = rounds.setdefault(event["round"], {"round": event["round"]})
                row.update({key: value for key, value in event.items() if key not in ("event", "round")})
        return frame(list(rounds.values()))

    def as_json(self) -> str:
        """The result as one line."""
        bounds = {"before": all_bounds(self.before.metrics), "after": all_bounds(self.after.metrics)}
        return as_line(
            {
                "before": self.before.metrics,
                "after": self.after.metrics,
                "bounds": bounds,
                "change": self.change(),
                "cost": self.cost,
                "run": str(self.folder),
            }
        )

    def __str__(self) -> str:
        """The result in a few lines; a metric without labels is said to be not known."""
        lines = []
        names = [
            name for name in ("accuracy", "agreement", "sampled/mean_length") if name in self.before.metrics
        ]
        for name in names or list(self.before.metrics)[:1]:
            before, after, change = self.before.metrics[name], self.after.metrics[name], self.change(name)
            if not change["n"]:
                lines.append(f"test {name:22} not known: no test problem has a label")
                continue
            words = f"change {change['mean']:+.3f} +- {change['stderr']:.3f} (paired, n={change['n']})"
            mean, stderr, n = strict(self.before, self.after, name)
            if name.startswith(SHARES) and n > change["n"]:
                words = (
                    f"change {mean:+.3f} +- {stderr:.3f} (paired, n={n}, what was not judged at one "
                    f"time counts as wrong then; {change['mean']:+.3f} +- {change['stderr']:.3f} over "
                    f"the {change['n']} judged both times)"
                )
            before, after = (measured(name, m).partition("   (")[0] for m in (before, after))
            lines.append(f"test {name:22} {before}  ->  {after}   {words}")
        spent = {
            what: sum(a.get(what, 0) for a in self.cost.values())
            for what in ("generated", "prefilled", "trained")
        }
        lines.append(
            f"tokens  {spent['generated']:,} drawn, {spent['prefilled']:,} prefilled, "
            f"{spent['trained']:,} trained"
        )
        if not self.kept_round:
            lines.append("model   the start: no update was kept")
        elif self.model:
            lines.append(
                f"model   {self.model}   (loads with transformers; surpass export {quoted(self.folder)} "
                "--to hf)"
            )
        for role, words in self.system.items():
            lines.append(
                f"prompt  the system message of {role}, from now on:\n{textwrap.indent(words, ' ' * 8)}"
            )
        lines += [f"report  {self.page}"] if self.page else []
        lines += [
            f"note    stopped early: {e['why']}" for e in self.events if e["event"] == "end" and e["why"]
        ]
        return "\n".join([*lines, *(f"note    {words}" for words in alarms(self.events))])
