"""The Lightning Trainer counts meta-steps, and keeps out of what is metaloop's."""

import logging
import warnings
from dataclasses import replace

import pytest
import torch

from metaloop.callbacks import DurableCheckpointIO
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.trainer import make_trainer, quiet_lightning
from tests.conftest import composed

CONFIG = RunConfig.of(composed("device=cpu", "training.max_steps=70", "training.validate_every=30"))


def test_it_validates_and_ends_by_meta_steps_and_adapts_in_evaluation(tmp_path):
    trainer = make_trainer(CONFIG.device, tmp_path, [], training=CONFIG.training)
    assert (trainer.max_steps, trainer.val_check_interval) == (70, 30)
    assert trainer.check_val_every_n_epoch is None
    assert not trainer.test_loop.inference_mode
    assert isinstance(trainer.strategy.checkpoint_io, DurableCheckpointIO)
    assert trainer.loggers == []
    assert trainer.default_root_dir == str(tmp_path)


def test_an_evaluation_takes_no_steps(tmp_path):
    assert make_trainer(CONFIG.device, tmp_path, []).max_steps == -1


@pytest.mark.parametrize(("precision", "is_rounded"), [("highest", False), ("high", True)])
def test_matrix_products_and_convolutions_round_alike(precision, is_rounded, tmp_path):
    make_trainer(replace(CONFIG.device, matmul_precision=precision), tmp_path, [])
    assert torch.get_float32_matmul_precision() == precision
    assert torch.backends.cudnn.allow_tf32 == is_rounded
    make_trainer(CONFIG.device, tmp_path, [])


def test_what_lightning_says_of_itself_is_hidden():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        quiet_lightning()
        warnings.warn("The dataloader does not have many workers which may", stacklevel=1)
        warnings.warn("Something else", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["Something else"]
    assert logging.getLogger("pytorch_lightning").level == logging.WARNING
