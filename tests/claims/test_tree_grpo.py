"""tree_grpo: credit against siblings separates the steps."""

from __future__ import annotations

import numpy as np

from surpass import advantages, objectives, selectors
from surpass.engines import TabularEngine
from surpass.flat import pack
from surpass.models import Models
from surpass.searches import samples, tree
from surpass.searches.round import search_all
from surpass.types import Column, Memory, Problem, Turn


class two_letters:
    """Two letters; the first decides 0.9 of the reward, the second 0.1."""

    players, branches = ("policy",), True

    async def start(self, models, problem):
        return Turn({}, {"policy": problem.prompt}, "policy")

    async def step(self, models, state, text):
        return Turn(state)


def gradients(search, advantage, n: int = 400) -> np.ndarray:
    """float64[n]: the gradient at the right second letter's logit (after a right first one), one problem's
    tree each.
    """
    engine = TabularEngine("ab", size=2**14)
    models, memory, found = Models(policy=engine), Memory(), []
    trees = models.run(
        search_all(search, models, two_letters(), [Problem(f"p{i}", "a") for i in range(n)], 0)
    )
    row = engine.row(engine.text.encode("aa"))
    for grown in trees:
        texts = [models.text("policy", grown, leaf) for leaf in grown.leaves()]
        rewards = [0.9 * (text[:1] == "a") + 0.1 * (text[1:2] == "a") for text in texts]
        grown.put("reward", Column("leaf", np.array(rewards)))
        grown = grown.with_columns(advantage([grown], memory)[0])
        batch = pack(selectors.every()([grown], memory, 0), ["policy"], ["logp", "advantage"])
        engine.module["table"].grad = None
        sums, _ = objectives.clipped(normaliser="token")(engine.forward(batch), batch)
        (sums["tokens"] / len(rewards)).backward()
        found.append(float(engine.module["table"].grad[row, 0]))
    return np.array(found)


def test_second_steps_gradient_has_less_variance_than_with_whole_attempt_credit():
    """Same leaves a problem (8), bootstrap over problems: the upper 95% bound of the variance ratio is below
    1.
    """
    ours = gradients(tree((4, 2), step_tokens=1, max_tokens=2), advantages.siblings())
    theirs = gradients(samples(8, max_tokens=2), advantages.leave_one_out())
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(2000):
        a, b = rng.choice(ours, len(ours)), rng.choice(theirs, len(theirs))
        ratios.append(a.var() / b.var())
    upper = np.quantile(ratios, 0.975)
    print(
        f"variance ratio {ours.var() / theirs.var():.3f}, 95% [{np.quantile(ratios, 0.025):.3f}, {upper:.3f}]"
    )
    assert upper < 1
    # the same direction: both push the right letter up (the loss's gradient is negative) on average
    assert ours.mean() + 3 * ours.std() / len(ours) ** 0.5 < 0
