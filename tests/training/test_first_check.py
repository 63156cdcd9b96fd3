"""A MetaLearner checks its pieces before its first step, whatever Lightning does first."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.tasks import Sinusoid
from metaloop.training.datamodule import EpisodicDataModule
from metaloop.training.meta_learner import MetaLearner

SGD = functools.partial(torch.optim.SGD, lr=0.1)


class FromTorch(Sinusoid):
    def draw(self, split, streams):
        torch.rand(1)
        return super().draw(split, streams)


def trainer(**more) -> pl.Trainer:
    """As a user writes it: two batches are validated before training."""
    return pl.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **more,
    )


def learner(*layers: nn.Module) -> MetaLearner:
    model = nn.Sequential(nn.Linear(1, 8), *layers, nn.Linear(8, 1))
    steps = {"inner_steps": 1, "eval_inner_steps": 1}
    objective = Objective(model=model, loss=F.mse_loss)
    return MetaLearner(maml(objective, inner_lr=0.1, adjoint="unrolled", **steps), optimizer=SGD)


def data(task=Sinusoid) -> EpisodicDataModule:
    sizes = {"meta_batch_size": 2, "validation_episodes": 2, "test_episodes": 2}
    return EpisodicDataModule(task(shots=3, queries=3), seed=0, **sizes)


class Running(nn.Identity):
    """Keeps a running mean of what it meets, by itself, where no substitute sees it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(8))

    def forward(self, x):
        if self.training:
            self.running_mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        return x


def test_a_batch_norms_running_statistics_stay_as_they_are():
    norm = nn.BatchNorm1d(8)
    trainer().fit(learner(norm), datamodule=data())
    assert not norm.running_mean.any()
    assert norm.num_batches_tracked == 0


def test_running_statistics_are_found_though_lightning_validates_first_in_eval():
    with pytest.raises(UserError, match=r"changes 1.running_mean.*\(in training mode\)"):
        trainer().fit(learner(Running()), datamodule=data())


@pytest.mark.filterwarnings("ignore:Found 1 module.s. in eval mode")
def test_a_layer_that_is_trained_in_eval_is_checked_as_it_is_trained():
    frozen = nn.BatchNorm1d(8).eval()
    trainer().fit(learner(frozen), datamodule=data())
    assert not frozen.training


def test_the_verdict_is_said_once_in_one_line(capsys):
    trainer().fit(learner(nn.Tanh()), datamodule=data())
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Checked:")]
    assert len(said) == 1
    assert "the meta-gradient of Sequential equals plain autograd's to" in said[0]
    assert "tasks_at_once=all" in said[0]


def test_a_task_that_is_no_function_of_its_seed_is_refused():
    with pytest.raises(UserError, match="FromTorch uses torch's global generator"):
        trainer().fit(learner(nn.Tanh()), datamodule=data(FromTorch))


def test_what_is_only_evaluated_need_not_be_trainable():
    model = learner(Running())
    trainer(inference_mode=False).test(model, datamodule=data(), verbose=False)
    with pytest.raises(UserError, match="changes 1.running_mean"):
        trainer().fit(model, datamodule=data())


def test_a_trainer_that_switches_gradients_off_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"pl.Trainer\(inference_mode=False\)"):
        trainer().test(learner(nn.Tanh()), datamodule=data(), verbose=False)
