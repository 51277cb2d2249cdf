"""tree_sharpen: mass moves to what the start finds most probable, right or wrong (the card's "It works
when").
"""

from __future__ import annotations

import pytest
from modes import letter, most_probable, sampled_accuracy, start

from surpass.loop import improve
from surpass.methods.tree_sharpen import tree_sharpen


def sharpen(right: float, rounds: int = 40, seed: int = 0):
    task, models = letter(right), start()
    before = sampled_accuracy(models, task)
    method = tree_sharpen(problems=32, n=(8,), max_tokens=2, temperature=1.0, lr=0.1, every=1000)
    models.run(improve(method, task, models, rounds=rounds, seed=seed))
    return before, sampled_accuracy(models, task), models, task


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_accuracy_rises_where_the_mode_is_right_and_falls_where_it_is_wrong(seed):
    before, after, _, _ = sharpen(1.0, seed=seed)
    wrong_before, wrong_after, _, _ = sharpen(0.0, seed=seed)
    print(f"mode right: {before:.3f} -> {after:.3f}; mode wrong: {wrong_before:.3f} -> {wrong_after:.3f}")
    assert before == pytest.approx(0.45, abs=1e-3) and wrong_before == pytest.approx(0.25, abs=1e-3)
    assert after > 0.8
    assert wrong_after < 0.15


def test_mass_on_the_starts_mode_grows_with_the_rounds():
    masses = [most_probable(*sharpen(0.5, rounds)[2:]) for rounds in (5, 15, 40)]
    print("mass on the start's mode after 5, 15, 40 rounds:", [round(mass, 3) for mass in masses])
    assert 0.45 < masses[0] < masses[1] < masses[2]
