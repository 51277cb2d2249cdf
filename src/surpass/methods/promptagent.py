"""PromptAgent: strategic planning of prompts (Wang et al. 2023, arXiv 2310.16427).

Idea     Improving a prompt is planning: look at mistakes, explain them, rewrite, look ahead. In the tree
         search a rewrite is a move, and better prompts further down raise the value of earlier ones. No
         weights change, so the model may be behind an API.
Search   MCTS over prompts, UCT Q + 2.5 sqrt(ln(N_parent + 1) / max(1, N)), Q the mean of the cumulative
         rewards; greedy to the path's end
Score    a prompt: accuracy of one answer at temperature 0 on `held` train problems
Select   the best prompt on the path with the highest mean reward (each iteration has one path). This prompt,
         the one that the search began with, and no prompt at all are then compared on `held` other train
         problems. The best is taken, and on a tie no prompt at all is preferred
Learn    the policy adopts it as its system message; the gate keeps it only if it is no worse
Family   prompts and programs, search
Labels   verifier
Needs    nothing but text, and labels; a stronger model for "optimizer" if there is one (else the policy
         itself)
Differs  Each round is one whole search from the last kept prompt; the paper makes one search. The run begins
         without a prompt, where the paper has one for the task. It adopts a prompt only if that beats no
         prompt on problems that did not choose it. The train problems and the `held` ones are two orders of
         the train split and may overlap. The wording of feedback and rewriting is ours.
Works    docs/claims.md, a scripted player and optimiser: it finds all hidden rules of a task; without looking
         at mistakes it finds hardly any. tests/test_prompts.py: it does not adopt a prompt that is worse than
         none, no better, or better on the search's own problems alone. Not shown with language models
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
    """`iterations` of a search that begins with the prompt `start` ("": none). A prompt is worth its accuracy
    on `held` problems.
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
