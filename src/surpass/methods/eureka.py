"""Eureka: human-level reward design by writing code (Ma et al. 2023, arXiv 2310.12931).

Idea     Reward design is a search over programs. Show a model the environment's source and let it write
         reward functions. Train agents with each. Then feed back how every component of the best reward
         behaved in training, not only how well the agents did, and let the model edit that program.
Search   `iterations` times: write n programs, run each in the sandbox and train agents with it; the next
         prompt shows the best program and the record of its training. If no program ran, the prompt stays the
         same
Score    trial: success at the end of training
Choose   the best program of all iterations; nothing is learnt, so the model may be behind an API
Family   prompts and programs
Labels   trial; nothing is trained, but every program is tried out
Needs    nothing but text; a task that can try an attempt out (task.trial), e.g. reward_code; bubblewrap
Differs  The paper's environments are simulated robots and its agents PPO. reward_code is a grid with tabular
         learners, and its rewards see one move at a time. A trial counts success over the last three
         checkpoints, not the best of any, and the exam trains anew with other random numbers. There is one
         search a problem; restarts are more problems or more seeds. The record of a human's reward is not
         shown. All prompts are ours, in one message without a system message.
Works    docs/claims.md, a scripted writer on this grid: a good reward teaches all agents where a sparse one
         teaches hardly any. Not shown: that editing the best program beats drawing as many independent ones,
         with the record of training or without. Success on this grid is nearly all or nothing, so there is
         little to climb. Not tried with a language model that writes programs.
"""

from surpass import choose, curricula, gates, measures, searches
from surpass.parts import Method


def eureka(
    n: int = 16, iterations: int = 5, guided: bool = True, temperature: float = 1.0, max_tokens: int = 1024
) -> Method:
    """`iterations` of `n` programs; `guided`=False feeds back only how well the agents did."""
    search = searches.evolve(n, iterations, guided, temperature, max_tokens)
    return Method(
        curriculum=curricula.shuffle(),
        search=search,
        scores={},
        exam=measures.answers(search, {"gate": 4, "test": 8}, choose.best("trial")),
        gate=gates.always(),
    )
