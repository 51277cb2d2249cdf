"""The small real model from the package index: loaded once from GGUF, cached as safetensors, drawn from and
scored.
"""

from __future__ import annotations

import numpy as np

from surpass.engines import LocalEngine
from surpass.models import Models
from surpass.types import Problem, Tree


def test_smollm2_draws_what_it_scores():
    engine = LocalEngine("smollm2-135m")
    assert engine.why_not_trees is None, "a Llama takes our attention"
    models = Models(policy=engine)

    async def go():
        tree = Tree(Problem("p", "Say hello."), 1)
        root = models.open("policy", tree, "Say hello.")
        nodes = await models.generate("policy", tree, root, 3, max_tokens=12, temperature=0.8)
        scored = [await models.logprobs("policy", tree, node) for node in nodes]
        return tree, nodes, scored

    tree, nodes, scored = models.run(go())
    assert engine.text.decode(tree.own(0)).startswith("system\nYou are a helpful AI assistant")
    for node, logp in zip(nodes, scored, strict=True):
        drawn, _ = tree.drawn(node)
        np.testing.assert_allclose(drawn, logp[-len(drawn) :], atol=1e-4)
        assert any(character.isalpha() for character in models.text("policy", tree, node))
