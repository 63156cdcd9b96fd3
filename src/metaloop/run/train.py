"""Meta-train a run folder's config, from its start or from its last checkpoint, and evaluate."""

import os
import shutil
import sys
from pathlib import Path
from typing import cast

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from metaloop.callbacks import (
    EnsembleCheckpoints,
    MetricsCsv,
    OutageProofWandbLogger,
    ResumeCheckpoint,
)
from metaloop.callbacks.metrics_csv import read_rows
from metaloop.callbacks.pictures import log_figures, save_figures
from metaloop.callbacks.resume_checkpoint import STOPPED
from metaloop.plots import draw_learning_curve
from metaloop.run.build import Pieces, build, build_callbacks, build_loggers, load_config
from metaloop.run.environment import describe_environment
from metaloop.run.evaluate import evaluate
from metaloop.run.trainer import make_trainer
from metaloop.run.weights import (
    find_initial_weights,
    find_resumable,
    load_initial_weights,
    read_checkpoint,
)
from metaloop.run.write import read_overrides, write_evaluation
from metaloop.run_folder import RunFolder, write_json


def train(folder: RunFolder) -> None:
    """Execute a training run's folder: train what is left to train, then evaluate."""
    config = load_config(folder)
    pieces = build(config)
    pieces.device.require()
    checkpoint = find_resumable(folder)
    saved = read_checkpoint(checkpoint) if checkpoint else {"global_step": 0, STOPPED: False}
    start = cast(int, saved["global_step"])
    init_from = cast(str | None, config["init_from"])
    if init_from is not None and checkpoint is None:
        load_initial_weights(pieces.meta_learner, find_initial_weights(init_from))
    _settle_wandb(cast(str, config["run_id"]))
    loggers = build_loggers(config, folder)
    save = ResumeCheckpoint(folder.checkpoints, every=pieces.training.save_every)
    callbacks = [save, *build_callbacks(config, folder, pieces.task)]
    if pieces.evaluation.checkpoint == "ensemble":
        callbacks.append(_ensemble(folder, pieces))
    trainer = make_trainer(pieces.device, folder.path, callbacks, loggers, pieces.training)
    _introduce(folder, start)
    exit_code = 1
    try:
        _begin_logging(loggers, config, folder, start)
        if saved[STOPPED]:
            print("Early stopping had ended this run: nothing is left to train.", flush=True)
        else:
            trainer.fit(
                pieces.meta_learner,
                datamodule=pieces.datamodule,
                ckpt_path=checkpoint,
                weights_only=True,
            )
            if trainer.global_step == 0:  # max_steps=0: no step saved what is to be evaluated
                trainer.save_checkpoint(folder.last_checkpoint)
        if trainer.is_global_zero:
            _draw_learning_curve(folder, loggers, trainer.global_step)
        _evaluate_after(folder, config, pieces.evaluation.split, loggers)
        exit_code = 0
    finally:
        _close(loggers, exit_code)
    _print_next_commands(folder.path)


def _settle_wandb(run_id: str) -> None:
    """Tell W&B by its environment what a run is where nothing else says so.

    Offline unless WANDB_MODE or an agent of a W&B sweep, which needs its server, says otherwise.
    """
    is_of_agent = "WANDB_SWEEP_ID" in os.environ
    mode = os.environ.setdefault("WANDB_MODE", "online" if is_of_agent else "offline")
    if mode != "online":  # the run says itself where W&B's files are
        os.environ.setdefault("WANDB_SILENT", "true")
    if is_of_agent:  # whose id wins over what wandb.init is given
        os.environ["WANDB_RUN_ID"] = run_id


def _ensemble(folder: RunFolder, pieces: Pieces) -> EnsembleCheckpoints:
    metric, mode = pieces.task.monitor
    size = pieces.evaluation.ensemble_size
    return EnsembleCheckpoints(folder.ensemble, monitor=f"val/{metric}", mode=mode, size=size)


@rank_zero_only
def _introduce(folder: RunFolder, start: int) -> None:
    write_json(folder.environment, describe_environment())
    what = "Training" if start == 0 else f"Resuming at meta-step {start}"
    print(f"{what}: {folder.path}", flush=True)


@rank_zero_only
def _begin_logging(
    loggers: list[Logger], config: dict[str, object], folder: RunFolder, start: int
) -> None:
    for logger in loggers:
        if isinstance(logger, MetricsCsv):
            logger.rewind(start)
        logger.log_hyperparams(config)
        if isinstance(logger, WandbLogger) and not logger.experiment.disabled:
            is_offline = logger.experiment.offline
            print(
                f"W&B: {folder.path / 'wandb' if is_offline else logger.experiment.url}", flush=True
            )


def _draw_learning_curve(folder: RunFolder, loggers: list[Logger], step: int) -> None:
    if rows := read_rows(folder.metrics):
        figures = {"learning_curve": draw_learning_curve(rows)}
        save_figures(figures, folder.plots)
        log_figures(figures, loggers, step)


def _evaluate_after(
    folder: RunFolder, config: dict[str, object], split: str, loggers: list[Logger]
) -> None:
    overrides = read_overrides(folder)
    place = write_evaluation(folder, split, config, overrides)
    evaluate(config, folder, place.path, overrides, loggers)
    place.write_status("completed")


@rank_zero_only
def _print_next_commands(path: Path) -> None:
    # without the environment activated the commands are found beside its python
    place = "" if shutil.which("metaloop-train") else f"{os.path.relpath(sys.prefix)}/bin/"
    print(
        "\nNext:\n"
        f"  {place}metaloop-evaluate run={path} evaluation.checkpoint=last\n"
        f"  {place}metaloop-resume {path} training.max_steps=MORE\n"
        f"  {place}metaloop-train --help",
        flush=True,
    )


def _close(loggers: list[Logger], exit_code: int) -> None:
    """Finish W&B, or the next run in this process would write into this one's."""
    for logger in loggers:
        if isinstance(logger, OutageProofWandbLogger):
            logger.finish(exit_code)
        elif isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code)
