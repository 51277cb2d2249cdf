"""A search over prompts: an optimizer model reads what went wrong under one and writes the next."""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from surpass.errors import RunBroken
from surpass.means import right
from surpass.models import Models
from surpass.parts import Task
from surpass.searches.round import search_all
from surpass.searches.samples import samples
from surpass.searches.turns import fill, instructed, worth
from surpass.types import Problem, Tree, fold

FEEDBACK = """A model was given {given}:
<prompt>
{prompt}
</prompt>

{cases}

{question} Explain each case, then list what the instruction should say."""

REWRITE = """A model was given {given}:
<prompt>
{prompt}
</prompt>

{cases}

Feedback on the instruction:
{feedback}

Earlier versions, oldest first:
{history}

Write a better instruction between <prompt> and </prompt>."""


@dataclass(frozen=True)
class prompts:
    """Monte Carlo tree search over system prompts for `role`. `iterations` times: descend by Q + w
    sqrt(ln(N_parent + 1) / max(1, N)), w = `explore`; expand by `n` rewrites; go on greedily to the best new
    one until the path ends; give every prompt on the path the sum of the rewards from it to the end.

    A rewrite: `role` answers `batch` train problems under the prompt at temperature 0; `optimizer` explains
    what went wrong (or, if nothing did, why it worked) and writes a new prompt. A prompt's reward is its
    accuracy on `held` other train problems. Only those that could be judged under the first prompt count; one
    that cannot be judged under another counts as wrong there. A path ends at `depth`. Beyond `min_depth`
    steps it also ends where the reward is below the mean of the start's and the parent's, or is the best so
    far. `guided`=False rewrites without looking at mistakes (the ablation). The root is the prompt that
    `role` has now, at first `start` ("": no system message).

    The result is the best prompt on the path of an iteration with the highest mean reward (Wang et al. 2023,
    PromptAgent, algorithm 1). That is a maximum of noisy means, so a second test follows: this prompt, the
    root's and no prompt at all answer `held` other train problems, and the best is chosen; ties go to no
    prompt, then to the root's. A prompt that does not also beat no prompt on the first `held` problems is not
    chosen. If the task has no other train problems, the first ones decide.

    In the tree every prompt is a node that the optimizer wrote, after (`cause`) the prompt that it improves;
    "" is a node of its own. Node columns: "reward", "visits", and "chosen", 1 at the chosen prompt.
    """

    start: str = ""
    iterations: int = 10
    n: int = 3
    explore: float = 2.5
    depth: int = 6
    min_depth: int = 2
    batch: int = 5
    held: int = 48
    guided: bool = True
    role: str = "policy"
    optimizer: str = "optimizer"
    temperature: float = 1.0
    max_tokens: int = 512
    answer_tokens: int = 128

    def at_most(self) -> int:
        """The most tokens that can be drawn."""
        rewrites = self.iterations * self.depth * self.n
        return (
            rewrites * (2 * self.max_tokens + (self.batch + self.held) * self.answer_tokens)
            + 5 * self.held * self.answer_tokens
        )

    async def __call__(self, models: Models, task: Task, problem: Problem, rng: int) -> Tree:
        tree = Tree(problem, rng)
        known = models.system.get(self.role, self.start)
        root = models.open(self.optimizer, tree, "The instruction so far:")
        given = {
            prompt: models.put(self.optimizer, tree, root, prompt, self.optimizer)
            for prompt in dict.fromkeys((known, ""))
        }
        for prompt, node in given.items():
            tree.end(node, 0, {"prompt": prompt})
        plan = _Plan(self, models, task, tree, given[known], given[""], rng)
        for node in given.values():
            await plan.visit(node)
        for _ in range(self.iterations):
            await plan.iterate()
        await plan.mark()
        return tree


@dataclass
class _Plan:
    """The state of one search over prompts. A prompt is the number of its node."""

    search: prompts
    models: Any
    task: Any
    tree: Tree
    root: int  # the first prompt
    none: int  # no prompt
    rng: int
    reward: dict[int, float] = field(default_factory=dict)
    returns: dict[int, list[float]] = field(default_factory=dict)
    children: dict[int, list[int]] = field(default_factory=dict)
    above: dict[int, int] = field(default_factory=dict)
    paths: list[list[int]] = field(default_factory=list)
    batches: int = 0
    judgeable: dict[str, np.ndarray] = field(default_factory=dict)

    def prompt(self, node: int) -> str:
        """The text of a prompt."""
        return str(self.tree.state[node]["prompt"])

    def path_to(self, node: int) -> list[int]:
        """The prompts from the root to this one."""
        path = [node]
        while path[-1] in self.above:
            path.append(self.above[path[-1]])
        return path[::-1]

    async def visit(self, node: int) -> None:
        """Compute the accuracy of a prompt on the held problems, the same for every prompt."""
        self.reward[node], self.returns[node] = (
            await self.accuracy(node, "held", self.problems("held", self.search.held)),
            [],
        )

    async def accuracy(self, node: int, name: str, problems: list[Problem]) -> float:
        """The share of right answers under a prompt, over those of the problems called `name` that could be
        judged under the first prompt that answered them.
        """
        values = np.array([value for value, _, _ in await self.answer(node, problems)], float)
        known = self.judgeable.setdefault(name, ~np.isnan(values))
        if not known.any():
            raise RunBroken(
                f"none of the {name} problems could be judged under the first prompt, so no prompt can "
                "be told to be better"
            )
        return float(np.nan_to_num(values[known]).mean())

    def problems(self, name: str, n: int) -> list[Problem]:
        return list(islice(self.task.problems("train", fold(0, "prompts", name)), n))

    async def answer(self, node: int, problems: list[Problem]) -> list[tuple[float, Problem, str]]:
        """(worth, problem, answer) of one answer to each problem at temperature 0 under a prompt."""
        search, models = self.search, self.models
        asked = [instructed(problem, self.prompt(node)) for problem in problems]
        part = samples(1, 0.0, search.answer_tokens, role=search.role)
        trees = await search_all(part, models, self.task, asked, fold(self.rng, "answers"))
        leaves = [tree.leaves()[0] for tree in trees]
        values = await asyncio.gather(
            *(worth(models, self.task, t, leaf, search.role) for t, leaf in zip(trees, leaves, strict=True))
        )
        said = [models.said(search.role, t, leaf) for t, leaf in zip(trees, leaves, strict=True)]
        return list(zip(map(right, values), problems, said, strict=True))

    def score(self, node: int) -> float:
        """A prompt's value in the descent."""
        value = float(np.mean(self.returns[node])) if self.returns[node] else self.reward[node]
        n = len(self.returns[self.above[node]])
        return value + self.search.explore * math.sqrt(math.log(n + 1) / max(1, len(self.returns[node])))

    async def iterate(self) -> None:
        """One selection, expansions to the end of a path, and the back-up."""
        path = [self.root]
        while self.children.get(path[-1]):
            path.append(max(self.children[path[-1]], key=lambda c: (self.score(c), -c)))
        best = max(self.reward.values())
        while not self.ends(path, best):
            await self.expand(path[-1])
            if not self.children[path[-1]]:
                break
            path.append(max(self.children[path[-1]], key=lambda c: (self.reward[c], -c)))
        for i, node in enumerate(path):
            self.returns[node].append(sum(self.reward[n] for n in path[i:]))
        self.paths.append(path)

    def ends(self, path: list[int], best: float) -> bool:
        """Whether the path ends here."""
        node, depth = path[-1], len(path) - 1
        if depth >= self.search.depth or node in self.children:
            return True
        if depth <= self.search.min_depth:
            return False
        return (
            self.reward[node] > best
            or self.reward[node] < (self.reward[self.root] + self.reward[path[-2]]) / 2
        )

    async def expand(self, node: int) -> None:
        """Write `n` rewrites of a prompt at once, each after another batch of problems."""
        numbers = range(self.batches, self.batches + self.search.n)
        self.batches += self.search.n
        found = await asyncio.gather(*(self.rewrite(node, number) for number in numbers))
        self.children[node] = [child for child in found if child is not None]
        for child in self.children[node]:
            self.above[child] = node
        await asyncio.gather(*(self.visit(child) for child in self.children[node]))

    async def rewrite(self, node: int, number: int) -> int | None:
        """A new prompt; None if the optimizer wrote none."""
        search, models, tree = self.search, self.models, self.tree
        sampling = {"temperature": search.temperature, "max_tokens": search.max_tokens}
        answered = (
            await self.answer(node, self.problems(f"batch {number}", search.batch)) if search.guided else []
        )
        wrong = [entry for entry in answered if entry[0] == 0]
        cases = [
            f"Question: {problem.asks}\nAnswer: {said}\nRight answer: {problem.answer}"
            for _, problem, said in wrong or answered
        ]
        question = (
            "These answers are wrong. Why did the instruction lead to them?"
            if wrong
            else "These answers are right. Why did it work?"
        )
        words = {
            "{prompt}": self.prompt(node),
            "{given}": "this instruction" if self.prompt(node) else "no instruction",
            "{cases}": "\n\n".join(cases),
            "{question}": question if cases else "",
            "{history}": "\n".join(self.prompt(n) or "(none)" for n in self.path_to(node)),
        }
        words["{feedback}"] = ""
        if search.guided:
            ask = models.open(search.optimizer, tree, fill(FEEDBACK, words), cause=node, aside=True)
            (said_,) = await models.generate(search.optimizer, tree, ask, 1, **sampling)
            words["{feedback}"] = models.said(search.optimizer, tree, said_, since=ask)
        asked = models.open(search.optimizer, tree, fill(REWRITE, words), cause=node)
        (new,) = await models.generate(search.optimizer, tree, asked, 1, **sampling)
        found = re.findall(
            r"<prompt>(.*?)</prompt>", models.said(search.optimizer, tree, new, since=asked), re.DOTALL
        )
        text = found[-1].strip() if found else ""
        tree.end(new, int(tree.stop[new]), {"prompt": text} if text else None)
        return new if text else None

    async def chosen(self) -> int:
        """The prompt to play with from now on."""
        best = max(
            self.paths,
            key=lambda path: float(np.mean([self.reward[node] for node in path])),
            default=[self.root],
        )
        found = max(best, key=lambda node: (self.reward[node], -node))
        others = self.problems("held", 2 * self.search.held)[self.search.held :]
        final = [
            self.none,
            *(
                node
                for node in dict.fromkeys((self.root, found))
                if self.reward[node] > self.reward[self.none]
            ),
        ]
        again = [
            await self.accuracy(node, "other held", others) if others else self.reward[node] for node in final
        ]
        return final[int(np.argmax(again))]  # ties go to the first

    async def mark(self) -> None:
        """Write the statistics to node columns."""
        chosen = await self.chosen()
        columns: dict[str, dict[int, float]] = {
            "reward": self.reward,
            "visits": {node: float(len(r)) for node, r in self.returns.items()},
            "chosen": {chosen: 1.0},
        }
        for name, values in columns.items():
            self.tree.put_nodes(name, values)
