"""Gradient steps on a role's weights (or its LoRA adapter), exact whatever the size of the micro-batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from surpass.errors import RunBroken, SurpassError
from surpass.flat import pack
from surpass.parts import Learn, Objective
from surpass.types import Batch, Example, Memory, Report, Row

# figures are sums; each is reported as a mean over what stands beside it
_MEANS = {"draw_gap": "drawn", "clip_ratio": "learnt", "kl": "learnt", "entropy": "learnt",
          "rewards/accuracies": "pairs", "rewards/margins": "pairs", "target_gap": "targets", "value_gap": "values"}  # fmt: skip
_OUTPUTS = frozenset({"entropy", "value"})  # what a forward pass gives beside log-probs, one of them


@dataclass(frozen=True)
class gradient:
    """AdamW on `objective`, `epochs` passes over the round's examples in `updates` steps each; fewer where there are fewer trees.

    The optimiser survives rounds. Examples are split by tree, never inside one, into micro-batches of about `max_tokens` flat
    tokens; every sum is divided by its total over the whole update, so the split changes nothing. Columns of log-probs that
    the objective names ("logp@start", "logp@policy@0") are computed before the first step, and only where their value is
    not known: with one step a round the start is the step itself.
    """

    objective: Objective
    lr: float = 1e-5
    epochs: int = 1
    updates: int = 1
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_tokens: int = 2048
    needs = frozenset({"train"})

    async def __call__(self, models, learn: Learn, examples: Sequence[Example], memory: Memory, rng: int) -> Report:
        report = Report("gradient")
        if not examples:
            return report
        engine = models.engine(learn.role)
        voices = learn.voices or (learn.role,)
        batches = self._batches(examples, voices, rng)
        steps = self.epochs * len(batches)
        self._fill(models, engine, learn.role, [batch for update in batches for batch in update], steps)
        optimiser = models.optimiser(learn.role, lr=self.lr, weight_decay=self.weight_decay, betas=self.betas)
        for step in range(steps):
            update = batches[step % len(batches)]
            self._step(models, engine, optimiser, update, report, step)
        models.version[learn.role] += 1
        engine.fresh()
        return report

    def _batches(self, examples: Sequence[Example], voices: Sequence[str], rng: int) -> list[list[Batch]]:
        """The round's updates, each a list of micro-batches that know the whole update's totals."""
        trees: dict[int, list[Example]] = {}
        for example in examples:
            trees.setdefault(id(example.tree), []).append(example)
        groups = list(trees.values())
        order = np.random.default_rng(rng).permutation(len(groups)) if self.updates > 1 else range(len(groups))
        shares = np.array_split(np.array(list(order), int), min(self.updates, len(groups)))
        return [self._micro([groups[i] for i in share], voices) for share in shares]

    def _micro(self, groups: list[list[Example]], voices: Sequence[str]) -> list[Batch]:
        everything = [example for group in groups for example in group]
        totals = {"examples": float(len(everything)), "paths": float(sum(len(e.nodes) for e in everything)),
                  "tokens": float(sum(_learnt(e, voices) for e in everything))}  # fmt: skip
        if len(voices) > 1:
            totals |= {f"tokens/{voice}": float(sum(_learnt(e, (voice,)) for e in everything)) for voice in voices}
        columns = [name for name in self.objective.needs if not name.startswith("logp@") and name not in _OUTPUTS]
        packed: list[Batch] = []
        waiting: list[Example] = []
        size = 0
        silent = getattr(self.objective, "silent_at", None)
        for group in groups:
            group = [e for e in group if silent is None or not _is_silent(e, silent)]
            extra = _tokens(group)
            if waiting and size + extra > self.max_tokens:
                packed.append(pack(waiting, voices, columns))
                waiting, size = [], 0
            waiting += group
            size += extra
        if waiting:
            packed.append(pack(waiting, voices, columns))
        for batch in packed:
            batch.totals = totals
        return packed

    def _fill(self, models, engine, role: str, batches: list[Batch], steps: int) -> None:
        """Log-probs under other weights, before anything changes."""
        for name in sorted(need for need in self.objective.needs if need.startswith("logp@")):
            who = name.removeprefix("logp@")
            if who == "start" and steps == 1:
                continue  # the one step is taken at the start: its own log-probs are these
            with models.using(role if who == "start" else who), torch.no_grad():
                for batch in batches:
                    batch.columns[name] = ("token", engine.forward(batch).logp.double().cpu())
                    models.count("scored", len(batch.token))

    def _step(self, models, engine, optimiser, update: list[Batch], report: Report, step: int) -> None:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=engine.device.type == "cpu")
        if accelerator.num_processes > 1:
            raise SurpassError("learners.gradient trains in one process; start surpass without a distributed launcher")
        optimiser.zero_grad(set_to_none=True)
        loss = 0.0
        figures: dict[str, float] = {}
        for batch in update:
            batch = engine.to_device(batch)
            also = next(iter(self.objective.needs & _OUTPUTS), "")
            ends = torch.zeros_like(batch.trained).index_fill(0, batch.last, True)  # where values are learnt, whoever wrote there
            sums, more = self.objective(engine.forward(batch, ends if also == "value" else None, also), batch)
            part = sum(value / batch.totals[name] for name, value in sums.items())
            accelerator.backward(part)
            loss += float(part.detach())
            for name, value in more.items():
                figures[name] = figures.get(name, 0.0) + value
            models.count("trained", len(batch.token))
        parameters = [p for p in engine.trainable().values() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm([p.grad for p in parameters])) if parameters else 0.0
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise RunBroken(
                f"the loss is {loss} and the gradient's norm {norm} at step {step}; the update was not made. Try a lower lr"
            )
        if parameters:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.clip, torch.tensor(norm))
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        figures |= {name: figures[name] / max(1.0, figures[count]) for name, count in _MEANS.items() if name in figures}
        for name, value in {"loss": loss, "grad_norm": norm, "learning_rate": self.lr, **figures}.items():
            if name not in _MEANS.values():
                report.rows.append(Row(str(step), 0, name, value))


def _tokens(group: list[Example]) -> int:
    """The tokens of one tree that a group of its examples uses, shared ones once."""
    return sum(len(group[0].tree.own(i)) for i in {i for e in group for node in e.nodes for i in e.tree.dialogue(node)})


def _learnt(example: Example, voices: Sequence[str]) -> int:
    """The number of tokens an example learns from, over its paths; a context's very first token is predicted by nothing."""
    tree, n = example.tree, 0
    for i, node in enumerate(example.nodes):
        path = tree.dialogue(node)
        since = -1 if example.since is None else example.since[i]
        for at in path[path.index(since) + 1 if since >= 0 else 0 :]:
            if tree.author[at] in voices:
                n += len(tree.own(at)) - (tree.parent[at] < 0)
    return n


def _is_silent(example: Example, column: str) -> bool:
    """Whether the column is 0 all along the example's paths, so that it cannot move the weights."""
    tree = example.tree
    values = tree.get(column)
    if values.axis == "leaf":
        where = {leaf: i for i, leaf in enumerate(tree.leaves())}
        return all(values.values[where[node]] == 0 for node in example.nodes)
    if values.axis == "node":
        return all(values.values[i] == 0 for node in example.nodes for i in tree.dialogue(node))
    return False
