"""The Lightning Trainer as a run uses it."""

import logging
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy

from metaloop.callbacks import DurableCheckpointIO
from metaloop.run.config.cluster import cluster_environments
from metaloop.run.config.settings import Device, Training

# What Lightning and torch say of a use that is meant.
EXPECTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*`isinstance.treespec, LeafSpec.` is deprecated.*",
    ".*It is recommended to use `sync_dist=True`.*",
    ".*There is already a wandb run in progress.*",
    ".*The `srun` command is available on your system but is not used.*",
)


def quiet_lightning() -> None:
    """Keep what Lightning says of itself, and its expected warnings, off the terminal."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def make_trainer(
    device: Device,
    folder: Path,
    callbacks: list[Callback],
    loggers: list[Logger] | None = None,
    training: Training | None = None,
    files: DurableCheckpointIO | None = None,
) -> pl.Trainer:
    """Make the Trainer of a run, or with neither loggers nor training that of an evaluation.

    `files` writes the checkpoints; by default they carry nothing that says what they are of.
    """
    quiet_lightning()
    torch.set_float32_matmul_precision(device.matmul_precision)
    # by default cuDNN's convolutions round to TF32, whatever the precision of products is
    torch.backends.cudnn.allow_tf32 = device.matmul_precision != "highest"
    # buffers are not broadcast: no norm keeps any, and each rank's are its own
    strategy = DDPStrategy(broadcast_buffers=False) if device.processes() > 1 else "auto"
    return pl.Trainer(
        accelerator=device.accelerator,
        devices=device.processes_here(),
        num_nodes=device.nodes,
        precision=device.precision,
        deterministic=device.deterministic,
        strategy=strategy,
        max_steps=training.max_steps if training else -1,
        max_epochs=-1,
        # counted in meta-steps: the training stream has no epochs
        val_check_interval=training.validate_every if training else None,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        # MetaLearner logs at its own interval, and only then
        log_every_n_steps=1,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        # the streams take their rank's slice themselves
        use_distributed_sampler=False,
        # adaptation in evaluation differentiates
        inference_mode=False,
        logger=loggers or False,
        callbacks=callbacks,
        default_root_dir=folder,
        plugins=[files or DurableCheckpointIO(), *cluster_environments(device)],
    )
