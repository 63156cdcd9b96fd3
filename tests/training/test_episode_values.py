"""What episodes reported comes back in their order, whatever evaluated them."""

import torch

from metaloop.training.episode_values import EpisodeValues


def test_values_come_back_in_the_order_of_the_episodes():
    values = EpisodeValues()
    values.update(torch.tensor([2, 0]), {"loss": torch.tensor([[20.0, 2.0], [0.0, 0.0]])})
    values.update(torch.tensor([1]), {"loss": torch.tensor([[10.0, 1.0]])})
    assert values.compute()["loss"].tolist() == [[0.0, 0.0], [10.0, 1.0], [20.0, 2.0]]
