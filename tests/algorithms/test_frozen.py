"""Frozen parameters: every algorithm works with them, or says what is left to learn."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.meta_gradient import adaptation_path, meta_gradient
from tests.episodes import RECIPES, initial_meta, objective, random_episodes, recipe
from tests.finite_difference import assert_meta_gradient_is_finite_difference

# what is frozen, by the beginnings of names, and the algorithms that then have nothing to do
FREEZES = {"head": "head.", "bias": "head.bias", "norm": "body.1.", "body": "body.", "all": ""}
REFUSED = {
    "head": {"anil": "do not freeze", "boil": "if it is frozen"},
    "body": {
        "boil": "do not freeze",
        "cavia": "unfreeze",
        **dict.fromkeys(("pmf", "proto_maml", "prototypical"), "Nothing is left to learn"),
    },
    "all": {
        **dict.fromkeys(RECIPES, "unfreeze"),
        "prototypical": "Nothing is left to learn",
    },
}
del REFUSED["all"]["r2d2"]  # which learns its ridge and scale


def frozen(name, freeze):
    made = objective("conv", name)
    for path, p in made.model.named_parameters():
        p.requires_grad_(not path.startswith(FREEZES[freeze]))
    return made


@pytest.mark.parametrize("freeze", FREEZES)
@pytest.mark.parametrize("name", RECIPES)
def test_every_algorithm_learns_the_rest_or_says_what_to_unfreeze(name, freeze):
    episodes = random_episodes("conv", tasks=2)

    def learn():
        algorithm = recipe(name, frozen(name, freeze))
        meta = initial_meta(algorithm)
        return algorithm, meta, meta_gradient(algorithm, meta, episodes)[0]

    if (message := REFUSED.get(freeze, {}).get(name)) is not None:
        with pytest.raises(UserError, match=message):
            learn()
        return
    algorithm, meta, gradient = learn()
    assert gradient.keys() == meta.keys()
    assert any(g.any() for g in gradient.values())
    path = adaptation_path(algorithm, meta, episodes, steps=1, is_detailed=True)
    assert path["query_loss"].isfinite().all()


@pytest.mark.parametrize("name", ["prototypical", "r2d2", "proto_maml"])
def test_a_frozen_head_is_replaced_as_any_other(name):
    free, held = recipe(name, objective("conv", name)), recipe(name, frozen(name, "head"))
    meta, episodes = initial_meta(held), random_episodes("conv", tasks=2)
    assert "head.weight" not in meta
    assert_meta_gradient_is_finite_difference(held, meta, episodes)
    if name != "proto_maml":  # whose inner steps go on with a head that is not frozen
        whole, _ = meta_gradient(free, initial_meta(free), episodes)
        found, _ = meta_gradient(held, meta, episodes)
        for n, g in found.items():
            torch.testing.assert_close(g, whole[n])
