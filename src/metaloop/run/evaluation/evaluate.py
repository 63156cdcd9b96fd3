"""Evaluate a trained learner on fixed episodes, and write the results into one folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from metaloop.callbacks import Progress
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import NormModeName, Report
from metaloop.loggers import MetricsCsv, OutageProofWandbLogger
from metaloop.loggers.figures import Draw, log_figures, save_figures
from metaloop.plots import (
    draw_adaptation_curve,
    draw_confusion,
    draw_one_task,
    draw_reliability,
)
from metaloop.run.checkpoints.weights import find_judged, load_learner
from metaloop.run.config.build import Pieces
from metaloop.run.config.environment import versions
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Evaluation
from metaloop.run.config.title import title_of_run
from metaloop.run.config.trainer import make_trainer
from metaloop.run.evaluation.printed_results import print_results
from metaloop.run.evaluation.results import (
    CALIBRATION_ERROR,
    Results,
    add_ours,
    summarize_calibration,
    summarize_results,
    write_confusion,
    write_results,
)
from metaloop.tasks import Task
from metaloop.tasks.metric import PROPER_SCORES
from metaloop.training.by_source import split_by_source, summarize_each
from metaloop.training.calibration import Reliability, measure_reliability
from metaloop.training.confusion import count_confusion
from metaloop.training.datamodule import EpisodicDataModule, gather
from metaloop.training.episode_columns import episode_columns
from metaloop.training.episode_values import NONE, Answered
from metaloop.training.estimate import MANY, estimate
from metaloop.training.logged_values import Values, summarize
from metaloop.user_text import Terminal, say


def evaluate(
    pieces: Pieces,
    run: RunFolder,
    folder: Path,
    overrides: Sequence[str],
    loggers: Sequence[Logger] = (),
) -> Results:
    """Evaluate a run's learner by the config; write and print the results.

    Args:
        pieces: built from the run's config with this evaluation's changes.
        run: the run whose checkpoint is judged.
        folder: for results.json, episodes.csv and the pictures.
        overrides: the user's changes, for the record.
        loggers: loggers of the training that this evaluation ends, which get the results too.

    """
    config = pieces.config
    config.device.require_started()
    checkpoints = load_judged(pieces, run, norm_modes=_further_norm_modes(pieces))
    trainer = make_trainer(config.device, folder, [Progress()])
    trainer.test(pieces.meta_learner, datamodule=pieces.datamodule, verbose=False)
    evaluated = pieces.meta_learner.evaluated
    sources = split_by_source(pieces.task, config.seed, config.evaluation.split, evaluated)
    reliability = _measure_reliability(pieces)
    results = _summarize(pieces, run, checkpoints, sources)
    if reliability is not None:
        results["calibration"] = summarize_calibration(reliability)
    results["overrides"] = list(overrides)
    if trainer.is_global_zero:
        write_results(folder, results, evaluated, episode_columns(pieces.datamodule.tested()))
        figures = save_figures(_drawings(pieces, run, results, folder, reliability), folder)
        values = summarize(evaluated) | summarize_each(sources)
        if reliability is not None:
            mean, width, _ = reliability.error
            values |= {CALIBRATION_ERROR: float(mean), f"{CALIBRATION_ERROR}_ci95": float(width)}
        _log_results(loggers, values, figures, pieces, max(checkpoints.values()))
        print_results(results, folder)
        for path in figures.values():
            say(f"Plot: {path}")
    return results


def _summarize(
    pieces: Pieces,
    run: RunFolder,
    checkpoints: Mapping[str, int],
    sources: Mapping[str, Report],
) -> Results:
    """Make the content of results.json, except the user's overrides."""
    results = summarize_results(pieces.meta_learner.evaluated)
    if (answered := pieces.meta_learner.evaluator.answered) is not None:
        met = {*answered.classes.flatten().tolist()} - {NONE}
        results["classes"] = sorted(map(pieces.task.class_name, met))
    if sources:
        results["by_source"] = {name: summarize_results(part) for name, part in sources.items()}
    protocol = _protocol(pieces, run, checkpoints) | _origin(pieces.config, run)
    results["protocol"] = {**protocol, "episodes": results["episodes"]}
    results["published"] = add_ours(pieces.config.published, results, pieces.config.content)
    results["versions"] = versions()
    return results


def _measure_reliability(pieces: Pieces) -> Reliability | None:
    """Measure calibration if outputs are logits and all are finite."""
    evaluator = pieces.meta_learner.evaluator
    answered = evaluator.answered
    if answered is None or not PROPER_SCORES.keys() <= evaluator.evaluated.keys():
        return None
    return measure_reliability(answered) if bool(answered.confidences.isfinite().all()) else None


def _drawings(
    pieces: Pieces,
    run: RunFolder,
    results: Results,
    folder: Path,
    reliability: Reliability | None,
) -> dict[str, Draw]:
    """Return the pictures of an evaluation; drawing the confusion also writes its table."""
    answered = pieces.meta_learner.evaluator.answered
    curves = {name: estimate(v) for name, v in pieces.meta_learner.evaluated.items()}
    judged = pieces.config.evaluation
    trained = pieces.algorithm.inner_steps
    of_run = title_of_run(pieces.config.content, run)
    title = f"{of_run}\n{results['episodes']} {judged.split} episodes"
    named = f"{title}, {judged.interval} 95 % interval"
    drawings: dict[str, Draw] = {
        "adaptation_curve": lambda: draw_adaptation_curve(curves, named, trained),
        "one_task": lambda: _draw_first_task(pieces, f"{of_run}\nfirst {judged.split} task"),
    }
    if answered is not None:
        drawings["confusion"] = lambda: _draw_confusion(answered, pieces.task, title, folder)
    if reliability is not None:
        drawings["reliability"] = lambda: draw_reliability(reliability, named)
    return drawings


def _draw_confusion(answered: Answered, task: Task, title: str, folder: Path) -> Figure:
    """Draw which classes were mistaken for which, and write the table."""
    confusion = count_confusion(answered)
    write_confusion(folder, confusion, task.class_name)
    return draw_confusion(confusion, task.class_title, title)


def _log_results(
    loggers: Sequence[Logger],
    summary: Values,
    figures: Mapping[str, Path],
    pieces: Pieces,
    meta_step: int,
) -> None:
    """Log pictures and results: to W&B as the run's summary, else as values at the meta-step.

    MetricsCsv gets none, since results.json has them.
    """
    split = pieces.config.evaluation.split
    log_figures({f"{split}_{name}": path for name, path in figures.items()}, loggers)
    values = {f"{split}/{name}": value for name, value in summary.items()}
    for logger in loggers:
        if isinstance(logger, OutageProofWandbLogger):
            logger.log_summary({**values, f"{split}/interval": pieces.config.evaluation.interval})
        elif not isinstance(logger, MetricsCsv):
            logger.log_metrics(values, meta_step)


@rank_zero_only
def warn_of_few_episodes(evaluation: Evaluation) -> None:
    """Warn if few episodes make a closed interval wide."""
    episodes = evaluation.episodes
    if episodes < MANY and evaluation.interval == "closed":
        terminal = Terminal(stderr=True)
        terminal.print("Warning:", style="yellow", end=" ")
        terminal.print(
            f"evaluation.episodes={episodes} is below {MANY}, the usual number, so the interval is "
            "wide."
        )


def load_judged(
    pieces: Pieces, run: RunFolder, norm_modes: Sequence[NormModeName] = ()
) -> dict[str, int]:
    """Load the checkpoint to judge, or all of an ensemble; return their meta-steps by file."""
    learner = pieces.meta_learner
    meta_steps, members = {}, []
    judge = pieces.config.evaluation
    for path in find_judged(run, judge.checkpoint, judge.ensemble_size):
        meta_steps[path.name] = load_learner(learner, path)
        members.append({name: p.detach().clone() for name, p in learner.meta.items()})
    learner.evaluator.set_judged(
        members,
        meta_step=max(meta_steps.values()),
        norm_modes=norm_modes,
        metrics=pieces.task.evaluation_metrics,
    )
    return meta_steps


def _further_norm_modes(pieces: Pieces) -> list[NormModeName]:
    """Return the norm modes to report in addition to the run's own.

    Raises:
        UserError: if one needs statistics or parameters that this run has not learned.

    """
    algorithm, meta = pieces.algorithm, pieces.meta_learner.meta
    own_mode = algorithm.objective.norm_mode
    further = [m for m in dict.fromkeys(pieces.config.evaluation.norm_modes) if m != own_mode]
    for mode in further:
        judged = algorithm.judged_by(replace(algorithm.objective, norm_mode=mode))
        if judged.lacks_statistics:
            raise UserError(
                f"evaluation.norm_modes names {mode}, which needs stored statistics, and "
                f"{type(algorithm).__name__} stores none. Leave {mode} out."
            )
        needed = judged.own_parameters()
        if lacking := [n for n, p in needed.items() if n not in meta or meta[n].shape != p.shape]:
            raise UserError(
                f"evaluation.norm_modes names {mode}, but this run has no {lacking[0]}: it was "
                f"trained with norm_mode={own_mode}. Leave {mode} out, or train with it."
            )
    return further


def _protocol(pieces: Pieces, run: RunFolder, checkpoints: Mapping[str, int]) -> dict[str, object]:
    return {
        "split": pieces.config.evaluation.split,
        "episodes": pieces.config.evaluation.episodes,
        "interval": pieces.config.evaluation.interval,
        "seed": pieces.config.seed,
        "task": type(pieces.task).__name__,
        **pieces.task.describe(),
        "model": type(pieces.algorithm.objective.model).__name__,
        **pieces.algorithm.describe(),
        "precision": pieces.config.device.precision,
        "run": run.path.resolve().name,
        "checkpoint": ", ".join(checkpoints),
        "meta_step": max(checkpoints.values()),
    }


def _origin(config: RunConfig, run: RunFolder) -> dict[str, object]:
    """Return the task of the training, and the folder of the data judged by."""
    trained, judged = RunConfig.read(run).task, config.task
    data = {"data_dir": judged["data_dir"]} if judged.get("data_dir") else {}
    return {"trained_on": str(trained["_target_"]).rpartition(".")[2], **data}


def _draw_first_task(pieces: Pieces, title: str) -> Figure | None:
    data: EpisodicDataModule = pieces.datamodule
    first = next(iter(data.test_dataloader()))
    learner = pieces.meta_learner
    learner.eval()  # the trainer has restored the previous mode
    device = next(iter(learner.meta.values())).device
    drawn = torch.utils._pytree.tree_map(lambda tensor: tensor.to(device), first)
    assert isinstance(learner.dtype, torch.dtype)
    gathered = gather(pieces.task, drawn, learner.dtype)
    indices, episodes = next(gathered.groups)
    return draw_one_task(
        pieces.algorithm,
        learner.meta,
        episodes,
        pieces.task.class_title,
        truth=data.truth(data.test_split, indices[:1]),
        title=title,
    )
