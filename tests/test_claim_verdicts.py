"""How claims are decided (tests/claims/verdicts.py)."""

from __future__ import annotations

import numpy as np
import pytest

from claims.verdicts import blocks, chance, counted, decided, verdicts


def verdict(effects, least: float) -> str:
    effects = np.asarray(effects, float)
    return decided(chance(effects), chance(-effects), max(chance(effects + least), chance(least - effects)))


@pytest.mark.parametrize(
    "effects, least, wanted",
    [
        ([0.10, 0.12, 0.11], 0.02, "shown"),
        ([-0.10, -0.12, -0.11], 0.02, "refuted"),
        ([0.1, -0.1, 0.05], 0.02, "not shown"),  # nothing is known: it may be 0.1 or -0.1
        ([-0.0003, -0.0004, -0.0003], 0.02, "equal"),  # surely below 0, and by nothing that matters
        ([0.0003, 0.0004, 0.0003], 0.02, "equal"),
        ([0.0003, 0.0004, 0.0003], 0.0001, "shown"),  # for whom that matters
        ([0.01, 0.01, 0.01], 0.02, "equal"),
        ([0.03, 0.03, 0.03], 0.02, "shown"),
        ([0.0, 0.0, 0.0], 0.02, "equal"),
        ([0.001, 0.019, 0.025], 0.02, "not shown"),
    ],
)
def test_a_difference_that_interests_nobody_is_equal_whatever_its_sign(effects, least, wanted):
    assert verdict(effects, least) == wanted


def test_two_one_sided_tests_by_hand():
    """Three effects of mean 0.01 and standard deviation 0.01: t = (0.02 - 0.01) / (0.01 / sqrt 3) = sqrt 3 on
    two degrees of freedom, whose upper tail is 1/2 - sqrt(3) / (2 sqrt 5) = 0.1127, so within 0.02 they are
    not shown to be equal.
    """
    effects = np.array([0.0, 0.01, 0.02])
    assert chance(0.02 - effects) == pytest.approx(0.5 - np.sqrt(3) / (2 * np.sqrt(5)))
    assert verdict(effects, 0.02) == "not shown"
    assert verdict(effects, 0.05) == "equal"


PAGE = """# Claims

<!-- counts -->
<!-- /counts -->

<!-- claims -->
## a

| claim | | measured | E | p | |
|---|---|---|---|---|---|
| is better | primary | 1 against 2 | 0.02 | 0.500 | **not shown** |
| is as good | secondary | 1 | 0.02 | 0.001 | **equal within 0.02** |

## b

| claim | | measured | E | p | |
|---|---|---|---|---|---|
| rises | primary | 1 -> 2 | 0.02 | < 0.001 | **shown** |
| holds | exact | 0 |  |  | **shown** |
| falls | secondary | 1 | 0.02 | 1.000 | **refuted** |
"""


def test_the_page_is_counted():
    assert verdicts(blocks(PAGE)["a"]) == {"is better": "not shown", "is as good": "equal"}
    assert counted(PAGE).splitlines()[2:] == [
        "| 2 primary claims | 1 | 0 | 1 | 0 |",
        "| 5 all claims | 2 | 1 | 1 | 1 |",
    ]


def test_the_page_of_claims_leads_with_its_counts():
    from claims.verdicts import LEAD
    from test_docs import PAGES

    page = next(path for path in PAGES if path.name == "claims.md").read_text(encoding="utf-8")
    assert LEAD.search(page)[0] == counted(page)
