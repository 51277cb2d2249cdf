"""PromptAgent: strategic planning of prompts (Wang et al. 2023, arXiv 2310.16427).

Idea     Improving a prompt is planning: look at mistakes, explain them, rewrite, look ahead. Tree search
         makes rewriting a move, so that better prompts further down raise the worth of earlier ones. No
         weights change: the model may be behind an API.
Search   MCTS over prompts, UCT Q + 2.5 sqrt(ln(N_parent + 1) / max(1, N)), Q the mean of the cumulative
         rewards; greedy to the path's end
Score    a prompt: accuracy of one answer at temperature 0 on `held` train problems
Select   the best prompt on the iteration's path with the highest mean reward; it, the prompt it began with
         and none at all are tried on `held` other train problems, and the best there is taken, of equals none
         at all first
Learn    the policy adopts it as its system message; the gate keeps it only if it is no worse
Family   prompts and programs, search
Labels   verifier
Needs    nothing but text, and labels; a stronger model for "optimizer" if there is one (else the policy
         itself)
Differs  each round is one whole search, from the prompt that was kept; the paper makes one. It begins with no
         prompt, where the paper has a task's own, and adopts none that is not better than none, on problems
         that did not choose it. Train and held problems are two orders of the train split and may overlap.
         The words of feedback and rewriting are ours.
Works    docs/claims.md, a scripted player and optimiser: it finds all hidden rules of a task, and hardly any
         without looking at mistakes. tests/test_prompts.py: a prompt that is worse than none, no better, or
         better on the search's own problems alone is not adopted. With language models not shown
         (docs/comparisons.md).
"""

from surpass import curricula, gates, learners, measures, searches, selectors
from surpass.parts import Learn, Method
from surpass.types import Cast


def promptagent(
    start: str = "",
    iterations: int = 10,
    n: int = 3,
    explore: float = 2.5,
    depth: int = 6,
    batch: int = 5,
    held: int = 48,
    guided: bool = True,
    temperature: float = 1.0,
    max_tokens: int = 512,
    answer_tokens: int = 128,
    every: int = 1,
) -> Method:
    """`iterations` of a search that begins with the prompt `start` ("": none); `held` problems decide what a
    prompt is worth.
    """
    search = searches.prompts(
        start,
        iterations,
        n,
        explore,
        depth,
        batch=batch,
        held=held,
        guided=guided,
        temperature=temperature,
        max_tokens=max_tokens,
        answer_tokens=answer_tokens,
    )
    return Method(
        curriculum=curricula.one("system prompt"),
        search=search,
        scores={},
        learn=(Learn("policy", selectors.prefixes("chosen"), learners.adopt()),),
        exam=measures.answers(searches.samples(1, 0.0, answer_tokens)),
        gate=gates.no_worse(every),
        cast={"optimizer": Cast("policy", shared=True)},
    )
