"""Every architecture that tests/families.py knows of; docs/models.md holds what comes out: SURPASS_WRITE=1
python -m pytest tests/soak/test_families.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import families

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
FOUND: dict[str, families.Found] = {}
HOW = {"trees": "exact, prefixes shared", "rows": "exact, whole rows", "refused": "refused: not causal"}


@pytest.mark.parametrize("kind", families.ALL)
def test_an_architecture_draws_scores_learns_and_is_read_again(kind, tmp_path):
    FOUND[kind] = families.tried(kind, tmp_path)
    assert FOUND[kind].how == families.ALL[kind][0]


def rows() -> list[str]:
    return [f"| {kind} | {HOW[found.how]} |" for kind, found in sorted(FOUND.items())]


def test_the_page_of_models_is_up_to_date():
    """The page names how each is computed; how far it is from its own forward is asserted to be below 1e-3
    nats, and printed here.
    """
    if len(FOUND) < len(families.ALL):
        pytest.skip("the table needs every architecture")
    print(
        "\n"
        + "\n".join(
            f"{kind:20} {f.how:8} draws {f.drawn:.1e}  learner {f.learnt:.1e}"
            for kind, f in sorted(FOUND.items())
        )
    )
    head, mark, rest = PAGE.read_text().partition("|---|---|\n")
    after = rest[rest.find("\n\n") :]
    page = head + mark + "\n".join(rows()) + after
    if os.environ.get("SURPASS_WRITE"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "run: SURPASS_WRITE=1 python -m pytest tests/soak/test_families.py"
