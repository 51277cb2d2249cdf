"""SPIRAL: self-play on zero-sum games with role-conditioned advantages (Liu et al. 2025, arXiv 2506.24119).

Idea     One policy plays both sides of a zero-sum game, so its opponent is always as strong as itself and the
         curriculum never ends. Seats differ in their expected return. A baseline for each seat of each game
         keeps long multi-turn training from collapsing.
Search   for each problem one game of the policy against itself, turn by turn, temperature 1
Score    what the game paid each player
Credit   A_p = R_p - b[game, seat p], b an exponential average of R_p, decay 0.95, with its value before the
         game; turn k of m gets A_p discount^(m - 1 - k)
Select   every player's own side of every game
Loss     clipped policy gradient, mean over tokens, no KL
Family   self-play, policy gradient
Labels   game
Needs    engine "train", "logprobs"; a task with two players, e.g. kuhn or tictactoe with opponent=self
Differs  An illegal move loses the most that the game can cost, and the other side wins it (in the paper's
         code -1.5 and +0.5). The gate compares play against a random and an optimal opponent, which are never
         trained against. The paper sums over a turn's tokens and averages over turns; here the mean is over
         tokens. The paper drops turns with advantage 0 and turns that were cut off; here all turns count. The
         paper makes two passes; here `updates` steps share one pass.
Works    docs/claims.md, Kuhn poker with a tabular policy: exploitability falls from 0.458 chips to 0.16; with
         rewards shuffled between the players it does not. It wins 0.2 to 0.3 chips a game against a policy
         trained on a fixed opponent, but not more games. Illegal moves, half of all at first, end at 2.1 to
         2.6%. A baseline per seat lowers the gradient's variance with every seed, by 3 to 9%; three seeds are
         too few to show it. Not tried on a language model.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def spiral_games(
    problems: int = 64,
    temperature: float = 1.0,
    max_tokens: int = 64,
    decay: float = 0.95,
    discount: float = 1.0,
    apart: bool = True,
    lr: float = 1e-6,
    clip: float = 0.2,
    updates: int = 2,
    tempered: bool = True,
    every: int = 5,
) -> Method:
    """`problems` games a round; without `apart` all seats share one baseline."""
    loss = objectives.clipped(clip, clip, normaliser="token")
    credit = advantages.seats(decay=decay, discount=discount, apart=apart)
    learner = learners.gradient(loss, lr, updates=updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(1, temperature, max_tokens),
        scores={"outcome": rewards.outcome()},
        learn=(Learn("policy", selectors.contexts(), learner, credit),),
        exam=measures.against(search=searches.samples(1, temperature, max_tokens)),
        gate=gates.no_worse(every, metric="reward"),
    )
