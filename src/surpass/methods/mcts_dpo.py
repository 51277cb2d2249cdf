"""MCTS-DPO: tree search and iterative preference learning (Xie et al. 2024, arXiv 2405.00451).

Idea     The policy searches a tree, guided by its own judgement of its steps and by the final answer. The
         search turns one outcome into preferences between steps. The policy learns the better steps and
         searches again.
Search   MCTS with Q_c + w P_c sqrt(N) / (1 + N_c), P_c = exp(log p(step) / length^1.25); a simulation goes on
         to an attempt's end; after `simulations` the search plays the most visited step and goes on from
         there
Score    a step: the policy's own p(yes) that it is right; a finished attempt: the task's check; Q of an
         expanded step: sum_c max(1, N_c) Q_c / sum_c max(1, N_c)
Select   at every node the best against the worst visited continuation, by Q over judged attempts
Loss     DPO on the two steps against the model at the start of the run, with confidence max(1/2,
         N_best / (N_best + N_worst))
Family   search, preference
Labels   verifier
Needs    engine "train", "logprobs"
Differs  To save cost `problems` a round are half the paper's 64, and simulations a quarter of its 64. A round
         makes `epochs` passes over its pairs in `updates` steps each. lr is ten times the paper's, for
         smaller models. A step is worth its verdict, and a finished attempt its check in [0, 1]. The paper
         divides a verdict by the depth beyond the third level, adds +1 or -1 to it at a final answer, and
         backs up differences of values. In the paper a step without visits is compared by its verdict. Here
         verdicts only guide the search: the Q that ranks pairs averages attempts that the task judged.
         self_evaluate=False judges steps by outcomes alone, since small models judge themselves at chance.
         Every node with several judged continuations gives a pair, not only the nodes on the played path. The
         root gets as many simulations as every other move.
Works    docs/claims.md, the tiny model on countdown: of two next steps the right one has the higher Q in 0.89
         to 0.93 of the pairs, and as often without any verdict. The model's own verdict on a step is at
         chance. On a tabular policy with attempts of three steps, training lifts the chance of a right one
         (0.13 to 0.72). There pairs from the current policy bring more than pairs gathered once, soft labels
         bring nothing over hard ones, and pairs of whole attempts bring more than pairs of steps. Trained on
         four tasks (docs/comparisons.md) the tiny model gets worse on two and its gate keeps nothing on two.
"""

from surpass import curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def mcts_dpo(
    problems: int = 32,
    simulations: int = 16,
    n: int = 2,
    depth: int = 8,
    explore: float = 1.0,
    self_evaluate: bool = True,
    margin: float = 0.0,
    in_flight: int = 1,
    temperature: float = 1.0,
    max_tokens: int = 128,
    beta: float = 0.1,
    lr: float = 1e-5,
    epochs: int = 8,
    updates: int = 4,
    every: int = 3,
) -> Method:
    """`problems` a round; `simulations` before each move; a pair is two steps whose Q differs by more than
    `margin`.
    """
    guide = searches.values.asked() if self_evaluate else searches.values.constant()
    search = searches.mcts(
        guide,
        simulations,
        n,
        "puct",
        "all",
        explore,
        to_end=True,
        moves=True,
        outcome=True,
        depth=depth,
        in_flight=in_flight,
        temperature=temperature,
        max_tokens=max_tokens,
    )
    loss = objectives.dpo(beta, base="policy@0")
    return Method(
        curriculum=curricula.shuffle(problems),
        search=search,
        scores={"reward": rewards.check()},
        learn=(
            Learn(
                "policy",
                selectors.siblings("q", margin, visits="visits"),
                learners.gradient(loss, lr, epochs, updates),
            ),
        ),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
