"""A loss may broadcast on purpose, but not targets of another number of dimensions by accident."""

import pytest
from torch.nn import functional as F

from metaloop.errors import UserError
from tests.meta_gradient.preflight.networks import (
    algorithm_of,
    float32_episodes,
    plain,
    verdict_of,
)


def of_one_dimension():
    episodes = float32_episodes()
    flat = [part._replace(targets=part.targets[..., 0]) for part in episodes[:2]]
    return episodes._replace(support=flat[0], query=flat[1])


@pytest.mark.parametrize("loss", [F.mse_loss, lambda p, y: (p - y).square().mean()])
def test_targets_that_broadcast_against_the_predictions_are_refused(loss):
    with pytest.raises(UserError, match=r"predictions \[5, 1\].*targets \[5\].*broadcast"):
        verdict_of(algorithm_of(plain(), loss=loss), episodes=of_one_dimension())


def test_deliberate_broadcasting_to_pairs_is_allowed():
    def contrastive(p, y):
        return ((p[:, None] - p[None]).square().sum(-1) - (y[:, None] - y[None])[..., 0]).mean()

    assert verdict_of(algorithm_of(plain(), loss=contrastive)).at_once["tasks_at_once"] == "all"
