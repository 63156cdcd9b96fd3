"""From a config to the objects it names. Nothing else sees a DictConfig."""

from collections.abc import Mapping
from math import prod
from typing import Literal, NamedTuple, cast

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger

from metaloop.algorithms import Algorithm
from metaloop.arguments import Seed, check_arguments
from metaloop.datamodule import EpisodicDataModule
from metaloop.errors import UserError
from metaloop.inner_loop import NormAdapts, NormMode, Objective
from metaloop.meta_learner import MakeOptimizer, MakeScheduler, MetaLearner
from metaloop.run.construct import Node, Section, check_node, construct, partial, section
from metaloop.run.settings import Device, Evaluation, Training
from metaloop.run_folder import RunFolder
from metaloop.tasks import Task

# what callbacks and loggers are supplied with, by the names of their arguments
SUPPLIED = ("dirpath", "folder", "monitor", "mode", "path", "save_dir", "id", "name")


class Pieces(NamedTuple):
    """What a config builds."""

    seed: int
    task: Task
    algorithm: Algorithm
    datamodule: EpisodicDataModule
    meta_learner: MetaLearner
    training: Training
    device: Device
    evaluation: Evaluation
    published: list[dict[str, object]]


def load_config(folder: RunFolder) -> dict[str, object]:
    """Read a folder's resolved config."""
    return plain(cast(DictConfig, OmegaConf.load(folder.config)))


def plain(config: DictConfig) -> dict[str, object]:
    """Resolve a config into dicts and lists."""
    container = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    return cast(dict[str, object], container)


def build(config: Node) -> Pieces:
    """Build a run's pieces; the keys of a config are the arguments of `_run`.

    Constructing touches no data and starts nothing, so building is also the check of a config.

    Raises:
        UserError: whatever in the config does not fit, by its key.

    """
    check_arguments(_run, config, key="")
    return _run(**config)  # type: ignore[arg-type]


def _run(
    *,
    command: Literal["train", "evaluate", "adapt"],
    run_id: str,  # noqa: ARG001 - the worker reads it
    init_from: str | None,
    seed: Seed,
    norm_mode: NormMode,
    norm_adapts: NormAdapts,
    task: Node,
    model: Node,
    algorithm: Node,
    optimizer: Node,
    scheduler: Node,
    data: Node,
    training: Node,
    device: Node,
    evaluation: Node,
    callbacks: Mapping[str, Node | None],
    logger: Mapping[str, Node | None],
    published: list[dict[str, object]],
) -> Pieces:
    pl.seed_everything(seed, verbose=False)
    family = construct(task, Task, key="task")
    network = construct(
        model,
        torch.nn.Module,
        key="model",
        input_shape=family.input_shape,
        input_size=prod(family.input_shape),
        output_size=family.output_size,
        vocabulary_size=family.vocabulary_size,
    )
    objective = Objective(
        model=network,
        loss=family.loss,
        metrics=family.metrics,
        forward=family.forward,
        norm_mode=norm_mode,
        norm_adapts=norm_adapts,
    )
    learner = construct(
        algorithm, Algorithm, key="algorithm", objective=objective, classes=family.classes
    )
    _check_statistics(learner, is_new=command == "train" and init_from is None)
    schedule, place = section(Training, training, "training"), section(Device, device, "device")
    judge = section(Evaluation, evaluation, "evaluation")
    judge.require(schedule)
    processes = place.processes()
    if (tasks := data.get("meta_batch_size")) and isinstance(tasks, int) and tasks % processes:
        raise UserError(
            f"A meta-batch of {tasks} tasks cannot be split evenly over {processes} processes. "
            f"Set data.meta_batch_size to a multiple of {processes}."
        )
    make_optimizer, make_scheduler = _makers(optimizer, scheduler)
    _try_optimizer(objective, make_optimizer, make_scheduler)
    for group, nodes in (("callbacks", callbacks), ("logger", logger)):
        for name, node in nodes.items():
            if node is not None:
                check_node(node, key=f"{group}.{name}", supplied=SUPPLIED)
    datamodule = section(
        EpisodicDataModule,
        data,
        "data",
        task=family,
        seed=seed,
        test_split=judge.split,
        test_episodes=judge.episodes,
    )
    meta_learner = MetaLearner(
        learner,
        optimizer=make_optimizer,
        scheduler=make_scheduler,
        seed=seed,
        tasks_at_once="by_size" if place.tasks_at_once == "auto" else place.tasks_at_once,
        chunks_at_once="by_size" if place.chunks_at_once == "auto" else place.chunks_at_once,
        compile=place.compile is True,
        own_lr=schedule.own_lr,
        clip_norm=schedule.clip_norm,
        clip_value=schedule.clip_value,
        log_every=schedule.log_every,
        report=schedule.report,
    )
    if place.precision == "64-true":  # before any weights are loaded: they are not to be rounded
        meta_learner.double()
    return Pieces(
        seed, family, learner, datamodule, meta_learner, schedule, place, judge, published
    )


def _check_statistics(learner: Algorithm, *, is_new: bool) -> None:
    """Refuse a norm mode that reads stored statistics where none are."""
    mode = learner.objective.norm_mode
    if learner.lacks_statistics:
        raise UserError(
            f"norm_mode={mode} normalises by stored statistics, and {type(learner).__name__} "
            "stores none. Choose another norm_mode, or another algorithm."
        )
    needs_some = mode == "frozen" and learner.objective.norms
    if needs_some and is_new and not learner.collects_statistics:
        raise UserError(
            "norm_mode=frozen normalises by stored statistics, and a new learner has none, nor has "
            "one that was trained without. Train with init_from=FOLDER of algorithm=pretrain."
        )


def build_callbacks(config: Node, folder: RunFolder, task: Task) -> dict[str, Callback]:
    """Build the callbacks by name, each supplied with what it asks for by an argument's name."""
    metric, mode = task.monitor
    supplied = {
        "dirpath": folder.checkpoints,
        "folder": folder.plots,
        "monitor": f"val/{metric}",
        "mode": mode,
    }
    return _build_each(config, "callbacks", Callback, supplied)


def build_loggers(config: Node, folder: RunFolder) -> list[Logger]:
    """Build the loggers, each supplied with what it asks for by an argument's name."""
    supplied = {
        "path": folder.metrics,
        "save_dir": str(folder.path),
        "id": config["run_id"],
        "name": folder.path.resolve().name,
    }
    return list(_build_each(config, "logger", Logger, supplied).values())


def _makers(optimizer: Node, scheduler: Node) -> tuple[MakeOptimizer, MakeScheduler]:
    """The two, their parameters to come; all of these in one kernel where the optimizer can."""
    make_optimizer = partial(optimizer, key="optimizer", supplied="params", fused=True)
    make_scheduler = partial(scheduler, key="scheduler", supplied="optimizer")
    return cast(MakeOptimizer, make_optimizer), cast(MakeScheduler, make_scheduler)


def _try_optimizer(
    objective: Objective,
    make_optimizer: MakeOptimizer,
    make_scheduler: MakeScheduler,
) -> None:
    """Make both once: only their constructors know their ranges."""
    key = "optimizer"
    try:
        parameters = [p.detach() for p in objective.meta_parameters().values()]
        optimizer = make_optimizer([{"params": parameters}])
        key = "scheduler"
        scheduler = make_scheduler(optimizer)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{key}: {error}") from error
    if isinstance(optimizer, torch.optim.LBFGS) or isinstance(
        scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau
    ):
        raise UserError(
            f"{key}: a meta-step calls optimizer.step() and scheduler.step() with no argument; "
            "LBFGS and ReduceLROnPlateau need one. Choose another."
        )


def _build_each(
    config: Node, group: str, kind: type[Section], supplied: Mapping[str, object]
) -> dict[str, Section]:
    nodes = cast(Mapping[str, Node | None], config[group])
    return {
        name: construct(node, kind, key=f"{group}.{name}", **supplied)
        for name, node in nodes.items()
        if node is not None
    }
