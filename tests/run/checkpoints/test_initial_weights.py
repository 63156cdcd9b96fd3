"""A run may start from the weights of another, or of a file."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.run.checkpoints.initial_weights import (
    find_initial_weights,
    load_base,
    load_initial_weights,
)
from metaloop.run.config.build import build
from metaloop.run.config.run_config import RunConfig


def test_init_from_names_a_run_or_a_file(tmp_path, untrained):
    run = untrained()
    run.last_checkpoint.rename(run.best_checkpoint)
    assert find_initial_weights(str(run.path)) == run.best_checkpoint
    with pytest.raises(UserError, match="neither a run folder nor a file"):
        find_initial_weights(str(tmp_path / "nothing"))
    file = tmp_path / "weights.pt"
    torch.save({}, file)
    assert find_initial_weights(str(file)) == file
    with pytest.raises(UserError, match="is not a run folder: it has no config.yaml"):
        find_initial_weights(str(tmp_path))


def test_the_learner_starts_with_those_weights(untrained, tmp_path):
    run = untrained()
    learner = build(RunConfig.read(run)).meta_learner
    weights = torch.load(run.last_checkpoint, weights_only=True)["state_dict"]
    load_initial_weights(learner, run.last_checkpoint)
    assert all(torch.equal(learner.state_dict()[name], w) for name, w in weights.items())


def test_the_base_of_adapters_is_loaded_where_it_can_be_again(tmp_path):
    network, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    torch.save(other.state_dict(), tmp_path / "base.pt")
    assert load_base(network, str(tmp_path / "base.pt"))
    assert torch.equal(network.weight, other.weight)
    # a checkpoint of adapters on a random base holds both, and they are loaded together later
    torch.save({"state_dict": {"model.0.lora_A": torch.zeros(1)}}, tmp_path / "adapters.ckpt")
    assert not load_base(network, str(tmp_path / "adapters.ckpt"))
