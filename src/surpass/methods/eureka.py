"""Eureka: human-level reward design by writing code (Ma et al. 2023, arXiv 2310.12931).

Idea     Reward design is a search over programs. Show a model the environment's source, let it write rewards,
         train agents with each, and feed back how every part of the best one behaved in training, not only
         how well it did; the model edits the best program.
Search   `iterations` times: n programs; each is run in the sandbox and agents are trained with it; the best
         of them and the record of its training are shown for the next n. If none ran, the same is asked again
Score    trial: success at the end of training
Choose   the best program of all iterations; nothing is learnt, so the model may be behind an API
Family   prompts and programs
Labels   trial; nothing is trained, but every program is tried out
Needs    nothing but text; a task that can try an attempt out (task.trial), e.g. reward_code; bubblewrap
Differs  the paper's environments are robots in a simulator and its agents PPO; reward_code is a grid with
         tabular learners, and its rewards see one move at a time. A trial is success over the last three
         checkpoints, not the best of any, and the exam trains anew with other random numbers. One search a
         problem: restarts are more problems or seeds. No record of a human's reward is shown. All words are
         ours, in one message without a system message.
Works    docs/claims.md, a scripted writer on this grid: a good reward teaches all agents where a sparse one
         teaches hardly any. Not shown: edits of the best do not beat as many independent programs, with the
         record of training or without; success there is nearly all or nothing, so there is little to climb.
         Not tried with a language model that writes programs.
"""

from surpass import choose, curricula, gates, measures, searches
from surpass.parts import Method


def eureka(
    n: int = 16, iterations: int = 5, guided: bool = True, temperature: float = 1.0, max_tokens: int = 1024
) -> Method:
    """`iterations` of `n` programs; `guided`=False feeds back the worth alone."""
    search = searches.evolve(n, iterations, guided, temperature, max_tokens)
    return Method(
        curriculum=curricula.shuffle(),
        search=search,
        scores={},
        exam=measures.answers(search, {"gate": 4, "test": 8}, choose.best("trial")),
        gate=gates.always(),
    )
