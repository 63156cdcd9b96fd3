"""The Lightning Trainer of a run."""

import logging
import warnings
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy

from metaloop.callbacks import DurableCheckpointIO
from metaloop.process.products import round_products
from metaloop.run.config.cluster import cluster_environments
from metaloop.run.config.settings import Device, Training

# Warnings of Lightning and torch about intended uses.
EXPECTED_WARNINGS = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*`isinstance.treespec, LeafSpec.` is deprecated.*",
    ".*It is recommended to use `sync_dist=True`.*",
    ".*There is already a wandb run in progress.*",
    ".*The `srun` command is available on your system but is not used.*",
    ".*`broadcast_buffers` is deprecated.*",
    ".*torch.distributed.nn.functional.all_gather is deprecated.*",
)


def quiet_lightning() -> None:
    """Hide Lightning's messages about itself and the expected warnings."""
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
    """Make the Trainer of a run, or of an evaluation if loggers and training are None.

    `files` writes the checkpoints; by default they contain no origin.
    """
    quiet_lightning()
    round_products(device.matmul_precision)
    # no broadcast of buffers: no norm keeps any, and each rank has its own
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
        # in meta-steps: the training stream has no epochs
        val_check_interval=training.validate_every if training else None,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        # MetaLearner logs at its own interval
        log_every_n_steps=1,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        # the streams themselves take their rank's slice
        use_distributed_sampler=False,
        # adaptation needs gradients in evaluation too
        inference_mode=False,
        logger=loggers or False,
        callbacks=callbacks,
        default_root_dir=folder,
        plugins=[files or DurableCheckpointIO(), *cluster_environments(device)],
    )
