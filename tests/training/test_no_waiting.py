"""A training step does not wait for its device, and its tensors stay there.

Tensors on torch's meta device have shapes but no values: to read one, as a wait for a GPU does, is
an error, and so is a tensor of another device beside them.
"""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy

from metaloop.training.datamodule import EpisodicDataModule
from tests.episodes import RECIPES
from tests.ranks import VARYING, Blobs, learner
from tests.trainers import bare_trainer

STEPS = 3
LEARNERS = [n for n in (*RECIPES, VARYING) if n != "r2d2"]  # its autocast knows no meta device


class Valueless(CPUAccelerator):
    """Lets a strategy have the meta device."""

    def setup_device(self, device):
        assert device.type == "meta"


class OnMeta(SingleDeviceStrategy):
    """Everything on the meta device, from which nothing comes back."""

    def __init__(self):
        super().__init__(torch.device("meta"), Valueless())

    def teardown(self):
        pass


class EnoughError(Exception):
    """The steps have been taken."""


class StopBeforeLogging(pl.Callback):
    """Logging reads values, once in log_every steps."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == STEPS:
            raise EnoughError


@pytest.mark.filterwarnings("ignore::UserWarning")  # Lightning's, of workers and of a missing log
@pytest.mark.parametrize("name", LEARNERS)
def test_a_training_step_neither_waits_for_its_device_nor_leaves_it(name):
    module = learner(name)
    module.log_every = 1000
    task = Blobs(ways=[2, 3], shots=[1, 2]) if name == VARYING else Blobs()
    data = EpisodicDataModule(task, seed=0, meta_batch_size=4, validation_episodes=4)
    bare_trainer(1, accelerator="cpu").fit(module, datamodule=data)  # the check reads values, once
    steps = bare_trainer(1000, strategy=OnMeta(), callbacks=[StopBeforeLogging()])
    with pytest.raises(EnoughError):
        steps.fit(module, datamodule=data)
    assert steps.global_step == STEPS
    assert {p.device.type for p in module.meta.values()} == {"meta"}
