"""NFT: negative-aware fine-tuning (Chen et al. 2025, arXiv 2505.18116).

Idea     The distribution of wrong answers is tied to that of the right ones: old = r right + (1 - r) wrong.
         So the model of right answers also defines one of wrong answers, and maximum likelihood on wrong
         answers trains the same weights: supervised learning that uses all the data.
Search   n attempts a problem
Score    the task's check
Select   every attempt at the problems with some right and some wrong ones
Loss     right: -log R_t; wrong: -log S((1 - r R_t) / (1 - r)); R_t = p / p_old, p_old = the policy before the
         round's updates, r = the problem's success rate, S = a straight-through clamp at eps; each weighted
         by omega = 1 - r; summed over tokens, divided by 1000 and by the number of attempts
Family   imitation
Labels   verifier
Needs    engine "train"
Differs  The paper makes one pass in 16 steps over a batch of 512 problems. A round here has few problems and
         makes 4 passes of 4 steps, because in one pass of few steps R stays near 1, where the clamp does
         nothing. The paper fills its batch with problems whose attempts differ, and divides by 1000 alone.
         Here the batch holds what a round gives, and the mean over attempts is taken; AdamW does not see such
         a factor, except through its eps and gradient clipping.
Works    docs/claims.md, on a tabular policy, one pass a round, against rejection fine-tuning on as many
         attempts: after 12 rounds accuracy is lower (0.59 against 0.60) and entropy higher (1.06 against 1.04
         nats). After 40 rounds both have turned (0.92 against 0.87; 0.37 against 0.51), so neither is a
         finding without its stopping time. It is within two points of GRPO at both. Four passes are not
         measured. tests/test_credit.py: at R = 1 with omega sqrt((1 - r) / r) the gradient is GRPO's; over
         several passes eps matters. Not shown on a language model.
"""

from surpass import advantages, curricula, gates, learners, measures, objectives, rewards, searches, selectors
from surpass.parts import Learn, Method


def nft(
    problems: int = 8,
    n: int = 16,
    temperature: float = 1.0,
    max_tokens: int = 128,
    lr: float = 1e-6,
    eps: float = 1.0,
    omega: str = "hard",
    negative: float = 1.0,
    epochs: int = 4,
    updates: int = 4,
    tempered: bool = True,
    every: int = 3,
) -> Method:
    """`problems` a round with `n` attempts each, and `epochs` passes over these of `updates` steps each.
    `negative` weighs wrong answers (0: rejection fine-tuning).
    """
    loss = objectives.nft(eps, omega, negative)
    learner = learners.gradient(loss, lr, epochs, updates, temperature=temperature if tempered else 1.0)
    return Method(
        curriculum=curricula.shuffle(problems),
        search=searches.samples(n, temperature, max_tokens),
        scores={"reward": rewards.check()},
        learn=(Learn("policy", selectors.nonconstant(), learner, advantages.success()),),
        exam=measures.answers(searches.samples(1, 0.0, max_tokens)),
        gate=gates.no_worse(every),
    )
