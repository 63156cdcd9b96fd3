"""Build the objects that a config names."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metaloop.algorithms import Algorithm
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.inner_loop import Objective, has_statistics
from metaloop.run.checkpoints.initial_weights import load_base
from metaloop.run.config.construct import Node, Section, check_node, construct, partial, section
from metaloop.run.config.refusal import refusal
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Device
from metaloop.run.config.targets import require_all_trusted
from metaloop.run.config.title import title_of_run
from metaloop.tasks import Task, require_mode
from metaloop.training.datamodule import EpisodicDataModule
from metaloop.training.logged_values import summary_names
from metaloop.training.meta_learner import MakeOptimizer, MakeScheduler, MetaLearner

SUPPLIED_TO_MODELS = ("input_shape", "input_size", "output_size", "vocabulary_size")
# a network's keys, ours and other packages', by which it is made with weights that others have
SOURCES = ("pretrained", "weights")
# what callbacks and loggers are supplied with, by the names of their arguments
SUPPLIED = ("dirpath", "folder", "monitor", "mode", "title", "path", "save_dir", "id", "name")


class Pieces(NamedTuple):
    """The objects built from a config, once per run, for training, evaluation and adaptation."""

    config: RunConfig
    task: Task
    algorithm: Algorithm
    datamodule: EpisodicDataModule
    meta_learner: MetaLearner

    def whole_config(self) -> RunConfig:
        """Return the config, completed with what the task has inferred from the data."""
        return self.config.changed(task=self.task.found)


def build(config: RunConfig) -> Pieces:
    """Build a run's pieces, which also checks the config.

    Building starts nothing, and reads data only to infer values that the config leaves open.

    Raises:
        UserError: if anything in the config does not fit; it names the key.

    """
    config.evaluation.require(config.training)
    _check_meta_batch(config.data, config.device)
    pl.seed_everything(config.seed, verbose=False)
    task = build_task(config)
    objective = _objective(config, task)
    algorithm = construct(
        config.algorithm, Algorithm, key="algorithm", objective=objective, classes=task.classes
    )
    is_new = config.command == "train" and config.init_from is None
    _check_statistics(algorithm, is_new=is_new)
    meta_learner = build_meta_learner(config, algorithm)
    _check_each(config.callbacks, "callbacks", Callback)
    _check_each(config.logger, "logger", Logger)
    datamodule = section(
        EpisodicDataModule,
        config.data,
        "data",
        task=task,
        seed=config.seed,
        test_split=config.evaluation.split,
        test_episodes=config.evaluation.episodes,
        test_interval=config.evaluation.interval,
    )
    return Pieces(config, task, algorithm, datamodule, meta_learner)


def build_task(config: RunConfig) -> Task:
    """Build only the task.

    Raises:
        UserError: if it does not fit, or names code that is not trusted.

    """
    require_all_trusted(config.content)
    task = construct(config.task, Task, key="task")
    if config.command == "evaluate":
        task.splits = (config.evaluation.split,)
    require_mode(task.metrics, task.monitor)
    return task


def _objective(config: RunConfig, task: Task) -> Objective:
    network = construct(
        config.model,
        torch.nn.Module,
        key="model",
        input_shape=task.input_shape,
        input_size=prod(task.input_shape),
        output_size=task.output_size,
        vocabulary_size=task.vocabulary_size,
    )
    return Objective(
        model=network if config.part is None else _with_part(config, config.part, network),
        loss=task.loss,
        metrics=task.metrics,
        forward=task.forward,
        norm_mode=config.norm_mode,
        norm_adapts=config.norm_adapts,
        ways=_ways(config.model, task),
    )


def _with_part(config: RunConfig, part: Node, network: torch.nn.Module) -> torch.nn.Module:
    """Choose what of a network is learned, on the base that it starts from."""
    if config.device.precision == "64-true":  # before any weights are loaded
        network.double()
    named = {key: config.model.get(key) for key in SOURCES}
    sources = [f"model.{key}={value}" for key, value in named.items() if value]
    if config.init_from is not None and load_base(network, config.init_from):
        sources = [f"init_from={config.init_from}"]
    source = sources[0] if sources else None
    return construct(part, torch.nn.Module, key="part", network=network, source=source)


def _ways(model: Node, task: Task) -> int | None:
    """Return the number of outputs that are classes; None if every output is one."""
    outputs = model.get("output_size", task.output_size)
    has_fewer = task.shapes.has_classes and outputs != task.output_size
    return task.output_size if task.shapes.ways_vary or has_fewer else None


def build_meta_learner(config: RunConfig, algorithm: Algorithm) -> MetaLearner:
    """Build the outer loop around an algorithm."""
    training, device = config.training, config.device
    # fused: all parameters in one kernel, if the optimizer can
    make_optimizer = partial(
        config.optimizer, Optimizer, key="optimizer", supplied="params", fused=True
    )
    make_scheduler = partial(config.scheduler, LRScheduler, key="scheduler", supplied="optimizer")
    _try_optimizer(config, algorithm.objective, make_optimizer, make_scheduler)
    made = MetaLearner(
        algorithm,
        optimizer=make_optimizer,
        scheduler=make_scheduler,
        seed=config.seed,
        tasks_at_once="by_size" if device.tasks_at_once == "auto" else device.tasks_at_once,
        chunks_at_once="by_size" if device.chunks_at_once == "auto" else device.chunks_at_once,
        compile=device.compile is True,
        own_lr=training.own_lr,
        clip_norm=training.clip_norm,
        clip_value=training.clip_value,
        log_every=training.log_every,
        report=training.report,
    )
    if device.precision == "64-true":  # before weights are loaded, which would be rounded
        made.double()
    return made


def _check_meta_batch(data: Node, device: Device) -> None:
    """Refuse a meta-batch that cannot be split evenly over the processes."""
    tasks, processes = data.get("meta_batch_size"), device.processes()
    if isinstance(tasks, int) and tasks % processes:
        raise UserError(
            f"A meta-batch of {tasks} tasks cannot be split evenly over {processes} processes. "
            f"Set data.meta_batch_size to a multiple of {processes}."
        )


def _check_each(nodes: Mapping[str, Node | None], group: str, kind: type) -> None:
    for name, node in nodes.items():
        if node is not None:
            check_node(node, kind, key=f"{group}.{name}", supplied=SUPPLIED)


def _check_statistics(learner: Algorithm, *, is_new: bool) -> None:
    """Refuse a norm mode that reads stored statistics if there are none."""
    mode = learner.objective.norm_mode
    if learner.lacks_statistics:
        raise UserError(
            f"norm_mode={mode} normalises by stored statistics, and {type(learner).__name__} "
            "stores none. Choose another norm_mode, or another algorithm."
        )
    norms = learner.objective.norms.values()
    lacks_some = learner.objective.reads_statistics and not all(map(has_statistics, norms))
    if lacks_some and is_new and not learner.collects_statistics:
        raise UserError(
            "norm_mode=frozen normalises by stored statistics, and a new learner has none, nor has "
            "one that was trained without. Train with init_from=FOLDER of algorithm=pretrain."
        )


def build_callbacks(config: RunConfig, folder: RunFolder, task: Task) -> dict[str, Callback]:
    """Build the callbacks by name, with those of our values that their arguments name."""
    supplied = {
        "dirpath": folder.checkpoints,
        "folder": folder.plots,
        "monitor": f"val/{task.monitor}",
        "title": title_of_run(config.content, folder),
    }

    def mode(node: Node) -> dict[str, object]:
        """Return the mode of the monitored metric, unless the config sets it."""
        name = str(node.get("monitor", supplied["monitor"])).removeprefix("val/")
        is_known = "mode" not in node and name in summary_names(task.metrics, is_detailed=False)
        return {"mode": require_mode(task.metrics, name)} if is_known else {}

    return _build_each(config.callbacks, "callbacks", Callback, supplied, mode)


def build_loggers(config: RunConfig, folder: RunFolder) -> list[Logger]:
    """Build the loggers, with those of our values that their arguments name."""
    supplied = {
        "path": folder.metrics,
        "save_dir": str(folder.path),
        "id": config.run_id,
        "name": folder.path.resolve().name,
    }
    return list(_build_each(config.logger, "logger", Logger, supplied).values())


def _try_optimizer(
    config: RunConfig,
    objective: Objective,
    make_optimizer: MakeOptimizer,
    make_scheduler: MakeScheduler,
) -> None:
    """Try optimizer and scheduler on small stand-in parameters, at the first and the last step.

    Only they know the ranges of their arguments, and whether step() needs more than a gradient.
    """
    shapes = [[min(n, 2) for n in p.shape] for p in objective.meta_parameters().values()]
    parameters = [torch.zeros(shape) for shape in shapes]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    steps = config.training.max_steps
    with _refusing("optimizer", config.optimizer):
        optimizer = make_optimizer([{"params": parameters}])
    with _refusing("scheduler", config.scheduler):
        scheduler = make_scheduler(optimizer)
    if steps > 0:
        with _refusing("optimizer", config.optimizer):
            optimizer.step()
        with _refusing("scheduler", config.scheduler):
            scheduler.step()
            scheduler.last_epoch = max(steps - 1, scheduler.last_epoch - 1)
            scheduler.step()


@contextmanager
def _refusing(key: str, node: Node) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # any error of a foreign optimizer
        if isinstance(error, TypeError) and "step()" in str(error):
            error = ValueError("a meta-step calls step() with no argument, and this one needs some")
        raise refusal(key, node, error) from error


def _build_each(
    nodes: Mapping[str, Node | None],
    group: str,
    kind: type[Section],
    supplied: Mapping[str, object],
    more: Callable[[Node], Mapping[str, object]] = lambda _: {},
) -> dict[str, Section]:
    return {
        name: construct(node, kind, key=f"{group}.{name}", **supplied, **more(node))
        for name, node in nodes.items()
        if node is not None
    }
