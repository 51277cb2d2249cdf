"""STaR on the suite with the tiny model."""

from lifts import lifts


def test_claims(claims):
    lifts(claims, "star")
