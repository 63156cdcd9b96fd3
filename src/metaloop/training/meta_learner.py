"""The outer loop as a LightningModule: Finn et al. 2017 (arXiv:1703.03400), Algorithms 1 and 2."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from metaloop.algorithms import Algorithm
from metaloop.arguments import Count, Positive, Seed
from metaloop.episode import Episodes
from metaloop.errors import UserError
from metaloop.inner_loop import Report
from metaloop.meta_gradient import (
    AtOnce,
    ChunksAtOnce,
    CompiledChunkGradient,
    TasksAtOnce,
    adaptation_path,
    meta_gradient,
)
from metaloop.meta_gradient.random_state import keep_random_state
from metaloop.training.by_source import summarize_sources
from metaloop.training.datamodule import MetaBatch
from metaloop.training.evaluator import Evaluator
from metaloop.training.first_check import FirstCheck
from metaloop.training.log_window import LogWindow
from metaloop.training.logged_values import summarize, summarize_path, summarize_step_sizes
from metaloop.training.running_averages import AVERAGES, move_averages
from metaloop.training.seeding import seed_step

MakeOptimizer = Callable[[Iterable[dict[str, object]]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]
announce = rank_zero_only(partial(print, flush=True))  # for slow work before the first step
WINDOW = "log_window"  # a checkpoint's key for values that are not logged yet


class MetaLearner(pl.LightningModule):
    """Meta-trains an algorithm's parameters by manual optimization.

    Args:
        algorithm: the algorithm, which adapts and defines the meta-loss.
        optimizer: factory of the meta-optimizer from the parameters.
        scheduler: factory of its schedule, stepped every meta-step; None for a constant rate.
        seed: seed of the randomness in a step (dropout), not of the episodes.
        tasks_at_once: tasks vectorised together: a number, all or by_size; limits the memory, does
            not change results.
        chunks_at_once: chunks computed at the same time; needs memory, does not change results.
        compile: compile the meta-gradient.
        clip_norm, clip_value: clip the meta-gradient to this norm, or each element to this size.
        own_lr: learning rate of the algorithm's own parameters (step sizes); default: the same.
        log_every: meta-steps per log window; logged values are means over it, except `_before` and
            `_after` adaptation, which are the last step's. The last step of a run is logged too.
        report: also log values at each inner step, at validations and logged steps.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, R2D2, MetaLearner, Objective
        >>> objective = Objective(model=MLP(2, 5, hidden=[8]), loss=torch.nn.CrossEntropyLoss())
        >>> algorithm = R2D2(objective, strength=1.0, scale=1.0)
        >>> learner = MetaLearner(algorithm, optimizer=torch.optim.Adam)
        >>> list(learner.meta)[-3:]  # what the algorithm learns in addition to the network
        ['ridge.log_strength', 'ridge.scale', 'ridge.shift']

    """

    def __init__(
        self,
        algorithm: Algorithm,
        *,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        seed: Seed = 0,
        tasks_at_once: TasksAtOnce = "all",
        chunks_at_once: ChunksAtOnce = 1,
        compile: bool = False,
        clip_norm: Positive | None = None,
        clip_value: Positive | None = None,
        own_lr: Positive | None = None,
        log_every: Count = 50,
        report: bool = False,
    ) -> None:
        super().__init__()
        if clip_norm is not None and clip_value is not None:
            raise UserError("Clip the meta-gradient by norm or by value: set one of the two.")
        self.automatic_optimization = False
        self.algorithm = algorithm
        self.model = algorithm.objective.model
        # the algorithm's own parameters; torch allows no dot in their names
        own = {n.replace(".", ":"): p for n, p in algorithm.own_parameters().items()}
        self.own = torch.nn.ParameterDict(own)  # makes parameters of the tensors
        self.averages = [n for n in own if n.startswith(AVERAGES)]
        self.own_lr = own_lr
        self.make_optimizer, self.make_scheduler = optimizer, scheduler
        self.seed = seed
        self.at_once = AtOnce(tasks_at_once=tasks_at_once, chunks_at_once=chunks_at_once)
        self.first_check = FirstCheck(announce)
        self.of_chunk = CompiledChunkGradient(announce) if compile else None
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.log_every, self.report = log_every, report
        self.evaluator = Evaluator()
        self.shown: dict[str, float] = {}  # the last logged values
        self.log_window = LogWindow()

    @property
    def meta(self) -> dict[str, Tensor]:
        """All meta-learned parameters, by name."""
        own = {name.replace(":", "."): p for name, p in self.own.items()}
        return {**self.algorithm.objective.meta_parameters(), **own}

    @property
    def evaluated(self) -> Report:
        """Values of each episode of the last validation or test, report[name] [episodes, K+1]."""
        return self.evaluator.evaluated

    def configure_optimizers(self) -> OptimizerLRScheduler:
        untrained = self.algorithm.untrained
        theta = self.algorithm.objective.meta_parameters().items()
        groups: list[dict[str, object]] = [{"params": [p for n, p in theta if n not in untrained]}]
        if learned := [p for name, p in self.own.items() if name not in self.averages]:
            own_lr = {} if self.own_lr is None else {"lr": self.own_lr}
            # no weight decay: it is a prior of weights, not of step sizes or preconditioners
            groups.append({"params": learned, "weight_decay": 0.0, **own_lr})
        optimizer = self.make_optimizer(groups)
        if self.make_scheduler is None:
            return optimizer
        return [optimizer], [self.make_scheduler(optimizer)]

    def training_step(self, batch: MetaBatch, batch_idx: int) -> None:
        """One meta-update: Algorithm 1, lines 3-8 (Algorithm 2 for classes: the same lines)."""
        episodes = batch.episodes
        self._check_once(episodes)
        algorithm = self.algorithm.at(self.global_step)
        closes_window = (self.global_step + 1) % self.log_every == 0
        is_logged = closes_window or self.global_step + 1 == self.trainer.max_steps
        before = self._look_at_path(algorithm, episodes) if is_logged else {}

        # for all T_i: adapt phi_i on the support set, judge it on the query set
        gradient, report = meta_gradient(
            algorithm, self.meta, episodes, **self.at_once, of_chunk=self.of_chunk
        )

        # theta <- theta - beta * mean_i grad meta_loss_i, through autograd once: DDP averages it
        optimizer = self._optimizer()
        optimizer.zero_grad()
        products = [(p * gradient[name]).sum() for name, p in self.meta.items()]
        self.manual_backward(torch.stack(products).sum())
        size = self._meta_gradient_norm() if is_logged else {}
        optimizer.step()  # clipped in on_before_optimizer_step
        move_averages([self.own[name] for name in self.averages])
        if (scheduler := self.lr_schedulers()) is not None:
            assert isinstance(scheduler, LRScheduler)
            scheduler.step()

        self.log_window.add(report)
        if is_logged:
            after = {f"{name}_after": report[name] for name in self._judged}
            self._log_training({**before, **after, **size}, closes_window=closes_window)

    def on_fit_start(self) -> None:
        self.first_check.keep_modes(self.model)  # Lightning validates first, in eval()

    def on_train_start(self) -> None:
        self.log_window.start()
        self._logged_step = self.global_step

    def on_train_end(self) -> None:
        if self._logged_step != self.global_step:  # if a callback has ended the run
            self._log_training({}, closes_window=False)

    def on_train_batch_start(self, batch: MetaBatch, batch_idx: int) -> None:
        seed_step(self.seed, self.global_step, self.global_rank, self.device)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the meta-gradient, which is unscaled by now."""
        if self.clip_norm is not None:
            self.clip_gradients(optimizer, self.clip_norm, "norm")
        if self.clip_value is not None:
            self.clip_gradients(optimizer, self.clip_value, "value")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[WINDOW] = self.log_window.save(self._gather_ranks)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.log_window.load(checkpoint.get(WINDOW), self.global_rank, self.trainer.world_size)

    def validation_step(self, batch: MetaBatch, batch_idx: int) -> None:
        self._check_once(batch.episodes)
        self.evaluator.judge(
            self.algorithm,
            self.meta,
            batch,
            meta_step=self.global_step,
            at_once=self.at_once,
            is_detailed=self.report and self.trainer.validating,
        )

    def test_step(self, batch: MetaBatch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        evaluated = self.evaluator.finish()
        summary = summarize(evaluated) | summarize_sources(self.trainer, evaluated)
        self._write(summary, "val")
        self._report_path(evaluated, "val")
        # for callbacks that monitor a value; all ranks have the same
        self.log_dict(
            {f"val/{name}": value for name, value in summary.items()},
            logger=False,
            batch_size=1,
            sync_dist=self.trainer.world_size > 1,
        )

    def on_test_epoch_end(self) -> None:
        self.evaluator.finish()

    def _check_once(self, episodes: Episodes) -> None:
        self.at_once = self.first_check(
            self, self.algorithm, self.meta, episodes, self.at_once, self.seed
        )

    def _look_at_path(self, algorithm: Algorithm, episodes: Episodes) -> Report:
        """Judge the learner before it adapts and, if `report`, at each inner step."""
        with keep_random_state(self.device):  # logging must not change results
            path = adaptation_path(
                algorithm,
                self.meta,
                episodes,
                steps=self.algorithm.inner_steps if self.report else 0,
                **self.at_once,
                is_detailed=self.report,
            )
        if self.report:
            path = {name: self._gather_ranks(values) for name, values in path.items()}
        self._report_path(path, "train")
        return {f"{name}_before": path[name][:, 0] for name in self._judged}

    @property
    def _judged(self) -> tuple[str, ...]:
        return ("query_loss", *self.algorithm.objective.metrics)

    def _gather_ranks(self, values: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return values
        gathered = self.all_gather(values)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def _report_path(self, path: Report, stage: str) -> None:
        if self.report:
            values = {f"{stage}_path/{n}": v for n, v in summarize_path(path).items()}
            values |= {f"step_size/{n}": v for n, v in summarize_step_sizes(self.meta).items()}
            self._log(values)

    def _meta_gradient_norm(self) -> Report:
        groups = self._optimizer().param_groups
        norms = [p.grad.norm() for g in groups for p in g["params"] if p.grad is not None]
        return {"meta_gradient_norm": torch.stack(norms).norm()}

    def _optimizer(self) -> LightningOptimizer:
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        return optimizer

    def _log_training(self, of_this_step: Report, *, closes_window: bool) -> None:
        values = {name: value.mean() for name, value in of_this_step.items()}
        values |= self.log_window.means()
        if closes_window:  # else an extended run continues the window
            self.log_window.close()
        mean = self.trainer.strategy.reduce(torch.stack(list(values.values())), reduce_op="mean")
        assert isinstance(mean, Tensor)
        logged = dict(zip(values, mean.tolist(), strict=True))
        names = ("lr",) if self.own_lr is None else ("lr", "own_lr")  # theta's, the own ones'
        rates = (group["lr"] for group in self._optimizer().param_groups)
        logged |= zip(names, rates, strict=False)
        cost = self.log_window.take_cost(self.trainer.world_size, self.device)
        self._logged_step = self.global_step
        self._write({**logged, **cost}, "train")

    def _write(self, values: Mapping[str, float], stage: str) -> None:
        """Log the values of a stage, and keep them for display."""
        named = {f"{stage}/{name}": value for name, value in values.items()}
        self.shown.update(named)
        self._log(named)

    def _log(self, values: dict[str, float]) -> None:
        """Log one row at the current meta-step.

        self.log would write the last logged values again at every step.
        """
        for logger in self.loggers:
            logger.log_metrics(values, self.global_step)
