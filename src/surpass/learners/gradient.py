"""Gradient steps on a role's weights (or its LoRA adapter), exact at every size of micro-batch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from surpass.engines.training import Step
from surpass.errors import SurpassError
from surpass.flat import pack
from surpass.models import Models
from surpass.parts import Learn, Objective
from surpass.types import Batch, Example, Memory, Report, Row


@dataclass(frozen=True)
class gradient:
    """AdamW on `objective`: `epochs` passes over the round's examples, in `updates` steps each, or fewer if
    there are fewer trees.

    The optimiser survives rounds. Examples are split by tree, never inside one, into micro-batches of about
    `max_tokens` flat tokens. Every sum is divided by its total over the whole update, so the split changes
    nothing. Log-probs that the objective reads ("logp@start", "logp@policy@0") are computed before the first
    step, unless their value is known: with one step a round, the step itself gives the start's.

    With `batch` each step learns from that many trees, and the number of steps grows with the examples;
    `updates` is then not used. `temperature` T sets the distribution that is trained, p = softmax(logits /
    T): all log-probs and entropies are p's, the reference's too. If T is not 1, the column "logp" is the
    log-probability under the distribution that was sampled from ("logq"), so that attempts drawn at T have
    ratio 1 at the first step, as in TRL. T = 0 (greedy) counts as 1.

    The report has the objective's figures and draw_gap: the mean of |log p(token) - log p at its draw| over
    the first step's tokens that were drawn from the weights as they are before it. More than rounding error
    means that the model does not recompute what it drew: RunBroken above draw_gap_limit, before any update.
    """

    objective: Objective
    lr: float = 1e-5
    epochs: int = 1
    updates: int = 1
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_tokens: int = 2048
    batch: int | None = None
    temperature: float = 1.0
    needs = frozenset({"train"})

    def __post_init__(self) -> None:
        if not all(
            isinstance(getattr(self.objective, name, None), frozenset) for name in ("columns", "outputs")
        ):
            raise SurpassError(
                f"the objective {type(self.objective).__name__} has to say its columns and outputs, "
                "each a frozenset of names: which columns it reads, and what the forward pass gives it "
                "(docs/design.md, section 4)"
            )

    @property
    def heat(self) -> float:
        """The temperature of the trained distribution."""
        return self.temperature or 1.0

    async def __call__(
        self, models: Models, learn: Learn, examples: Sequence[Example], memory: Memory, rng: int
    ) -> Report:
        report = Report("gradient")
        if not examples:
            return report
        if int(os.environ.get("WORLD_SIZE") or 1) > 1:
            raise SurpassError(
                "learners.gradient trains in one process; start surpass without a distributed launcher"
            )
        engine = models.engine(learn.role)
        voices = learn.voices or (learn.role,)
        mine = {
            i: models.made(voice)
            for i, voice in enumerate(voices)
            if models.engines.get(voice) is engine and not learn.start
        }
        batches = self._batches(examples, voices, rng)
        steps = self.epochs * len(batches)
        self._fill(models, learn, [batch for update in batches for batch in update], steps)
        how = Step(self.lr, self.weight_decay, self.betas, self.clip, self.heat)
        for step in range(steps):
            update = batches[step % len(batches)]
            found = engine.update(learn.role, update, self.objective, how, {} if step else mine)
            report.rows += [Row(str(step), 0, name, value) for name, value in found.items()]
            models.count("trained", sum(len(batch.token) for batch in update))
        models.version[learn.role] += 1
        engine.fresh()
        return report

    def _batches(self, examples: Sequence[Example], voices: Sequence[str], rng: int) -> list[list[Batch]]:
        """The round's updates, each a list of micro-batches with the totals of the whole update."""
        trees: dict[int, list[Example]] = {}
        for example in examples:
            trees.setdefault(id(example.tree), []).append(example)
        groups = list(trees.values())
        steps = -(-len(groups) // self.batch) if self.batch else min(self.updates, len(groups))
        order = (
            np.random.default_rng(rng).permutation(len(groups))
            if self.batch or self.updates > 1
            else range(len(groups))
        )
        shares = np.array_split(np.array(list(order), int), steps)
        return [self._micro([groups[i] for i in share], voices) for share in shares]

    def _micro(self, groups: list[list[Example]], voices: Sequence[str]) -> list[Batch]:
        everything = [example for group in groups for example in group]
        totals = {
            "examples": float(len(everything)),
            "paths": float(sum(len(e.nodes) for e in everything)),
            "tokens": float(sum(_learnt(e, voices) for e in everything)),
        }
        if len(voices) > 1:
            totals |= {
                f"tokens/{voice}": float(sum(_learnt(e, (voice,)) for e in everything)) for voice in voices
            }
        columns = {name for name in self.objective.columns if not name.startswith("logp@")}
        columns |= {"logp", "logq", "version"}
        packed: list[Batch] = []
        waiting: list[Example] = []
        size = 0
        silent = getattr(self.objective, "silent_at", None)
        for group in groups:
            group = [e for e in group if silent is None or not _is_silent(e, silent)]
            extra = _tokens(group)
            if waiting and size + extra > self.max_tokens:
                packed.append(pack(waiting, voices, sorted(columns)))
                waiting, size = [], 0
            waiting += group
            size += extra
        if waiting:
            packed.append(pack(waiting, voices, sorted(columns)))
        for batch in packed:
            batch.totals = totals
            batch.columns["drawn"] = batch.columns["logp"]
            if self.heat != 1:
                batch.columns["logp"] = batch.columns["logq"]
        return packed

    def _fill(self, models: Models, learn: Learn, batches: list[Batch], steps: int) -> None:
        """Fill in log-probs under other weights, before anything changes. "logp@start" uses the weights from
        before the round's first update, also another row's.
        """
        engine, started = models.engine(learn.role), learn.start is None and models.weights.moved(learn.role)
        for name in sorted(column for column in self.objective.columns if column.startswith("logp@")):
            who = name.removeprefix("logp@")
            if who == "start" and steps == 1 and not started:
                continue  # the only step is at the start: it computes these itself
            weights = (
                models.weights.at_start(learn.role)
                if who == "start" and started
                else models.weights.using(learn.role if who == "start" else who)
            )
            with weights, torch.no_grad():
                for batch in batches:
                    found = engine.forward(batch, temperature=self.heat).logp.double().cpu()
                    batch.columns[name] = ("token", found)
                    models.count("scored", len(batch.token))


def _tokens(group: list[Example]) -> int:
    """How many tokens of one tree a group of its examples uses; shared ones count once."""
    return sum(
        len(group[0].tree.own(i))
        for i in {i for e in group for node in e.nodes for i in e.tree.dialogue(node)}
    )


def _learnt(example: Example, voices: Sequence[str]) -> int:
    """How many tokens an example learns from, over its paths. The first token of a context does not count:
    nothing predicts it.
    """
    tree, n = example.tree, 0
    for i, node in enumerate(example.nodes):
        path = tree.dialogue(node)
        since = -1 if example.since is None else example.since[i]
        for at in path[path.index(since) + 1 if since >= 0 else 0 :]:
            if tree.author[at] in voices:
                n += len(tree.own(at)) - (tree.parent[at] < 0)
    return n


def _is_silent(example: Example, column: str) -> bool:
    """Whether the column is 0 along all of the example's paths, so that it cannot change the weights."""
    tree = example.tree
    values = tree.get(column)
    if values.axis == "leaf":
        where = tree.leaf_index()
        return all(values.values[where[node]] == 0 for node in example.nodes)
    if values.axis == "node":
        return all(values.values[i] == 0 for node in example.nodes for i in tree.dialogue(node))
    return False
