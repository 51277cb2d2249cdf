"""What parts need is checked by name, of engine and task, before the first token is drawn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from surpass import searches
from surpass.errors import UnmetNeed
from surpass.methods.grpo import grpo
from surpass.methods.mcts_dpo import mcts_dpo
from surpass.methods.omegaprm import omegaprm
from surpass.methods.slate import slate
from surpass.methods.tree_grpo import tree_grpo
from surpass.needs import require
from surpass.tasks import kuhn
from tiny import copy_letter, nano_models


@dataclass(frozen=True)
class my_tree:
    """A search of a user's own that draws whole attempts; its name says tree."""

    needs: tuple[str, ...] = ()

    async def __call__(self, models, task, problem, rng):
        raise AssertionError("nothing is drawn here")


@dataclass(frozen=True)
class live(copy_letter):
    """A task whose states are no values."""

    branches = False


@pytest.mark.parametrize("where", ["search", "curriculum", "adapt"])
def test_a_need_that_nothing_gives_is_refused_by_name(where):
    """A typo was a need that everything met; what a curriculum and adapt need was never looked at."""
    method = dataclasses.replace(grpo(), **{where: my_tree(("logprob",))})
    with pytest.raises(UnmetNeed, match='my_tree needs "logprob", which nothing gives'):
        require(method, copy_letter(), nano_models())


@pytest.mark.parametrize("where", ["curriculum", "adapt"])
def test_what_a_curriculum_and_adapt_need_of_the_model_is_asked(where):
    with pytest.raises(UnmetNeed, match="my_tree needs a value head"):
        require(dataclasses.replace(grpo(), **{where: my_tree(("value",))}), copy_letter(), nano_models())


@pytest.mark.parametrize("search", [tree_grpo().search, mcts_dpo().search, omegaprm().search, slate().search])
def test_searches_that_continue_a_state_several_times_say_so(search):
    """They were known by the word tree in their name: mcts, beam and first_error slipped through, and a
    user's my_tree was refused.
    """
    models = nano_models()
    models.cast(omegaprm().cast)
    with pytest.raises(UnmetNeed, match="cannot be branched"):
        require(dataclasses.replace(grpo(), search=search), live(), models)
    require(dataclasses.replace(grpo(), search=my_tree()), live(), models)


@pytest.mark.parametrize(
    "search",
    [
        mcts_dpo().search,
        omegaprm().search,
        searches.refine("{question}{answer}", "{question}{answer}{feedback}"),
    ],
)
def test_a_search_for_one_player_is_refused_a_game_before_anything_is_drawn(search):
    """The refusal came from inside the search, where it was a failed attempt after the exams at the start."""
    models = nano_models()
    models.cast(omegaprm().cast)
    with pytest.raises(UnmetNeed, match="plays one player, and kuhn has 2"):
        require(dataclasses.replace(grpo(), search=search), kuhn(opponent="self"), models)
