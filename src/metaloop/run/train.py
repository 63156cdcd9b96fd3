"""Meta-train a run folder's config, from scratch or from its last checkpoint, and evaluate."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, EarlyStopping
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from metaloop.callbacks import (
    DurableCheckpointIO,
    EnsembleCheckpoints,
    ResumeCheckpoint,
    StopWhenDiverged,
)
from metaloop.callbacks.kept_weights import KEPT_WEIGHTS, KeptWeights
from metaloop.callbacks.resume_checkpoint import STOPPED
from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers import MetricsCsv, OutageProofWandbLogger, ResumableTensorBoardLogger
from metaloop.loggers.figures import log_figures, save_figures
from metaloop.loggers.metrics_csv import read_rows
from metaloop.loggers.wandb_logger import wandb_mode
from metaloop.plots import draw_learning_curve
from metaloop.run.checkpoints.initial_weights import find_initial_weights, load_initial_weights
from metaloop.run.checkpoints.origin import (
    accepted_at,
    changes_between,
    describe_origin,
    explain_changes,
    find_unaccepted,
    inexact_because,
    require_same_kind,
    saved_config,
)
from metaloop.run.checkpoints.take_effect import take_effect
from metaloop.run.checkpoints.weights import (
    Resumable,
    find_resumable,
    fitting_weights,
)
from metaloop.run.config.build import Pieces, build, build_callbacks, build_loggers
from metaloop.run.config.environment import describe_environment
from metaloop.run.config.misfits import explain_misfits, require_known_monitors
from metaloop.run.config.read import read_overrides
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.title import title_of_run
from metaloop.run.config.trainer import make_trainer
from metaloop.run.config.write import write_config, write_evaluation
from metaloop.run.decide import decide
from metaloop.run.evaluation.evaluate import evaluate
from metaloop.run.report.commands import after_training, in_lines
from metaloop.tasks import Task, best_mode, require_mode
from metaloop.training.logged_values import summary_names
from metaloop.user_text import for_shell, say


class Start(NamedTuple):
    """The start of a run: meta-step 0, or a checkpoint, which `files` hands to Lightning."""

    step: int
    is_stopped: bool
    checkpoint: Path | None
    files: DurableCheckpointIO
    kept: KeptWeights


def train(folder: RunFolder, pieces: Pieces | None = None) -> None:
    """Execute a training run's folder: train the remaining meta-steps, then evaluate.

    `pieces` are built from the folder's config, if that is done already.
    """
    pieces = _keep_found(folder, pieces or build(RunConfig.read(folder)))
    pieces.config.device.require()
    pieces.config.device.require_started()
    pieces = decide(folder, pieces)
    config, training = pieces.config, pieces.config.training
    named = build_callbacks(config, folder, pieces.task)
    require_known_monitors(named, pieces)
    start = _find_start(folder, pieces, named)
    _settle_wandb(config.run_id)
    loggers = build_loggers(config, folder)
    save = ResumeCheckpoint(folder.checkpoints, every=training.save_every, kept=start.kept)
    callbacks = [save, *named.values()]
    if training.stop_when_diverged:
        callbacks.append(StopWhenDiverged())
    if config.evaluation.checkpoint == "ensemble":
        callbacks.append(_ensemble(folder, pieces))
    with explain_misfits(RuntimeError):  # two callbacks of one name in the checkpoint
        trainer = make_trainer(
            config.device, folder.path, callbacks, loggers, training, files=start.files
        )
    _introduce(folder, start.step, trainer, pieces)
    exit_code = 1
    try:
        _begin_logging(loggers, config, folder, start)
        if start.is_stopped:
            say("Early stopping had ended this run: no training is left.")
        else:
            with explain_misfits():
                trainer.fit(
                    pieces.meta_learner,
                    datamodule=pieces.datamodule,
                    ckpt_path=start.checkpoint,
                    weights_only=True,
                )
            _explain_early_stopping(named, trainer.global_step)
            if trainer.global_step == 0:  # max_steps=0: no step has saved a checkpoint to evaluate
                trainer.save_checkpoint(folder.last_checkpoint)
        if trainer.is_global_zero:
            title = title_of_run(config.content, folder)
            _draw_learning_curve(folder, loggers, trainer.global_step, title)
        _evaluate_after(folder, pieces, loggers)
        exit_code = 0
    finally:
        _close(loggers, exit_code)
    _print_next_commands(folder.path, pieces.task)


def _keep_found(folder: RunFolder, pieces: Pieces) -> Pieces:
    """Write values that the task has inferred from the data into the config, for use without it."""
    config = pieces.whole_config()
    if config.content != pieces.config.content:
        rank_zero_only(write_config)(folder, config.content)
    return pieces._replace(config=config)


def _settle_wandb(run_id: str) -> None:
    """Set W&B's environment variables that are not set yet.

    W&B is offline unless WANDB_MODE says otherwise, or an agent of a W&B sweep needs its server.
    """
    is_of_agent = "WANDB_SWEEP_ID" in os.environ
    mode = wandb_mode("online" if is_of_agent else "offline")
    os.environ["WANDB_MODE"] = mode
    if mode != "online":  # the run itself prints the location of W&B's files
        os.environ.setdefault("WANDB_SILENT", "true")
    if is_of_agent:  # its id takes precedence over wandb.init's argument
        os.environ["WANDB_RUN_ID"] = run_id


def _find_start(folder: RunFolder, pieces: Pieces, callbacks: dict[str, Callback]) -> Start:
    """Find and check the checkpoint to resume from, or load the initial weights."""
    config, kept = pieces.config, KeptWeights(folder.checkpoints)
    found = find_resumable(folder)
    if found is None:
        rank_zero_only(folder.write_accepted)([])
        rank_zero_only(kept.restore)({}, 0)
        if config.init_from is not None:
            load_initial_weights(pieces.meta_learner, find_initial_weights(config.init_from))
        return Start(0, False, None, DurableCheckpointIO(describe_origin(config), kept=kept), kept)
    _check_resumed(found, folder, pieces, callbacks)
    content = found.content
    rank_zero_only(kept.restore)(content[KEPT_WEIGHTS], content["global_step"])
    files = DurableCheckpointIO(describe_origin(config), {found.path: content}, kept)
    return Start(content["global_step"], content[STOPPED], found.path, files, kept)


def _check_resumed(
    found: Resumable, folder: RunFolder, pieces: Pieces, callbacks: dict[str, Callback]
) -> None:
    """Refuse another run's checkpoint, and apply accepted changes to it.

    Raises:
        UserError: if it belongs to another run, or the config has changes that are not accepted.

    """
    path, checkpoint = found
    require_same_kind(checkpoint, path, pieces.config.content)
    changes = changes_between(saved_config(checkpoint), pieces.config.content)
    if unaccepted := find_unaccepted(folder, changes):
        raise UserError(explain_changes(folder, unaccepted))
    accepted = accepted_at(folder, checkpoint["global_step"], changes)
    rank_zero_only(folder.write_accepted)(accepted)
    checkpoint["state_dict"] = fitting_weights(pieces.meta_learner, checkpoint, path)
    take_effect(changes, checkpoint, pieces.meta_learner, callbacks)
    if (reason := inexact_because(checkpoint, pieces.config)) is not None:
        rank_zero_only(print)(
            f"Results may now differ from an uninterrupted run in their last bits: {reason}."
        )


def _ensemble(folder: RunFolder, pieces: Pieces) -> EnsembleCheckpoints:
    task, size = pieces.task, pieces.config.evaluation.ensemble_size
    mode = require_mode(task.metrics, task.monitor)
    return EnsembleCheckpoints(folder.ensemble, monitor=f"val/{task.monitor}", mode=mode, size=size)


@rank_zero_only
def _introduce(folder: RunFolder, start: int, trainer: pl.Trainer, pieces: Pieces) -> None:
    folder.checkpoints.mkdir(exist_ok=True)
    write_json(folder.environment, describe_environment())
    names = summary_names(pieces.task.metrics, is_detailed=False)
    write_json(folder.best_modes, {name: best_mode(pieces.task.metrics, name) for name in names})
    training = pieces.config.training
    what = "Training" if start == 0 else f"Resuming at meta-step {start}"
    if start == training.max_steps > 0:
        what = f"All {start} meta-steps are trained; evaluating again"
    for line in (f"{what}: {folder.path}", *pieces.task.introduce()):
        say(line)
    if training.validate_every > training.max_steps > 0:
        say(
            f"No validation: training.validate_every={training.validate_every} is above "
            f"training.max_steps={training.max_steps}."
        )
    published = pieces.config.published
    if published and not any(row.get("ran_whole") for row in published):
        say(
            "The whole schedule of this preset has not been run before, so it is unknown whether "
            "it reaches the published value."
        )
    if trainer.strategy.root_device.type == "cuda" and not pieces.config.device.deterministic:
        say("On a GPU resuming is exact only with device.deterministic=true.")


@rank_zero_only
def _begin_logging(
    loggers: list[Logger], config: RunConfig, folder: RunFolder, start: Start
) -> None:
    training = config.training
    is_in_window = start.step % training.log_every != 0
    for logger in loggers:
        if isinstance(logger, MetricsCsv):
            is_extended = start.step < training.max_steps and not start.is_stopped
            logger.rewind(start.step, is_extended=is_extended and is_in_window)
        elif isinstance(logger, ResumableTensorBoardLogger):
            logger.rewind(start.step)
            say(f"TensorBoard: {for_shell('tensorboard', '--logdir', folder.path)}")
        logger.log_hyperparams(dict(config.content))
        if isinstance(logger, WandbLogger) and not logger.experiment.disabled:
            run, place = logger.experiment, Path(logger.save_dir or folder.path) / "wandb"
            say(f"W&B: {place if run.offline else run.url}")


@rank_zero_only
def _explain_early_stopping(callbacks: Mapping[str, Callback], step: int) -> None:
    for callback in callbacks.values():
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            reason = callback.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
            say(f"Early stopping ends the run at meta-step {step}: {reason}")


def _draw_learning_curve(folder: RunFolder, loggers: list[Logger], step: int, title: str) -> None:
    if rows := read_rows(folder.metrics):
        drawings = {"learning_curve": lambda: draw_learning_curve(rows, title=title)}
        log_figures(save_figures(drawings, folder.plots), loggers, step)


def _evaluate_after(folder: RunFolder, pieces: Pieces, loggers: list[Logger]) -> None:
    split, overrides = pieces.config.evaluation.split, read_overrides(folder)
    place = rank_zero_only(write_evaluation)(folder, split, pieces.config.content, overrides)
    evaluate(pieces, folder, folder.evaluations / split, overrides, loggers)
    if place is not None:
        place.write_status("completed")
        place.let_go()


@rank_zero_only
def _print_next_commands(path: Path, task: Task) -> None:
    # if the environment is not activated, the commands are next to its python
    place = "" if shutil.which("metaloop-train") else f"{os.path.relpath(sys.prefix)}/bin/"
    lines = in_lines(after_training(path, place, task.suggest_files()))
    say("\n  ".join(["\nNext:", *lines]))


def _close(loggers: list[Logger], exit_code: int) -> None:
    """Finish W&B, so that the next run in this process starts its own; flush other loggers."""
    for logger in loggers:
        if isinstance(logger, OutageProofWandbLogger):
            logger.finish(exit_code)
        elif isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code)
        else:
            logger.finalize("failed" if exit_code else "success")
