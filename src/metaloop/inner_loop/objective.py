"""The objective of a task: loss and metrics as functions of the model's parameters."""

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metaloop.episode import Episode, Examples, Inputs, count_rows
from metaloop.errors import UserError
from metaloop.inner_loop.norm_modes import NORM_MODES, NormMode, NormModeName
from metaloop.inner_loop.norms import batch_norms, refuse_unfit_norms, scales_and_shifts
from metaloop.models.plain import is_plain
from metaloop.substitutes import BatchNorms, Statistics, Substitutes

Parameters = Mapping[str, Tensor]
Report = dict[str, Tensor]
Network = Callable[[Inputs], Tensor]
NormAdapts = Literal["all", "scale", "shift", "none"]
STATISTICS = "statistics."  # prefix of the entries of phi that are statistics, not weights


def one_pass(network: Network, inputs: Inputs) -> Tensor:
    """Predict by one call of the network."""
    return network(inputs)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A model as a function of its parameters, with a task's loss and metrics.

    Works on one task at a time: no leading T in its shapes. Buffers, and parameters without
    requires_grad, keep the model's values.

    Attributes:
        model: any module.
        loss: mean loss of (predictions, targets), a scalar.
        metrics: further scalars of (predictions, targets), reported by name.
        forward: from (network, inputs) to predictions. The default is a single call; a
            reinforcement-learning task may run the rollouts of a policy, for instance.
        norm_mode: where batch norms take their statistics from: transductive, inductive,
            support_plus_one, frozen or per_step.
        norm_adapts: the norm parameters that the inner loop may adapt.
        pinned: batch norms that always use the running statistics stored in them; None selects
            those in eval() while the model is in train().
        ways: number of leading outputs that are classes of the episode; the other outputs get no
            gradient. None if episodes have a class for every output.

    Raises:
        UserError: if the model is lazy, or its norms do not fit the norm mode.

    Examples:
        >>> import torch
        >>> from metaloop import Examples, Objective
        >>> objective = Objective(model=torch.nn.Linear(1, 1, bias=False), loss=torch.nn.MSELoss())
        >>> support = Examples(torch.ones(4, 1), torch.zeros(4, 1))
        >>> objective.support_loss({"weight": torch.tensor([[3.0]])}, support)  # 3^2
        tensor(9.)

    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    forward: Callable[[Network, Inputs], Tensor] = one_pass
    norm_mode: NormModeName = "transductive"
    norm_adapts: NormAdapts = "all"
    pinned: frozenset[str] | None = None
    ways: int | None = None

    def __post_init__(self) -> None:
        for name, p in self.model.named_parameters():
            if isinstance(p, nn.parameter.UninitializedParameter):
                raise UserError(
                    f"{type(self.model).__name__} is lazy: {name} has no shape yet. Call the model "
                    "once on an input before passing it to an algorithm."
                )
        refuse_unfit_norms(self.model, self.norm_mode, stores=self.mode.stores)
        if self.pinned is None:
            norms = self.norms.items() if self.model.training else ()
            pinned = frozenset(n for n, m in norms if not m.training and m.running_mean is not None)
            object.__setattr__(self, "pinned", pinned)

    @property
    def mode(self) -> NormMode:
        """The norm mode object."""
        return NORM_MODES[self.norm_mode]

    def for_ways(self, ways: int) -> Self:
        """Copy the objective for episodes of this many classes, where the number varies."""
        if self.ways is None or ways in (0, self.ways):
            return self
        other = copy.copy(self)
        object.__setattr__(other, "ways", ways)
        return other

    def meta_parameters(self) -> dict[str, Tensor]:
        """Collect the model's learned parameters, theta, by name."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    @cached_property
    def parameter_names(self) -> frozenset[str]:
        """Names of all the model's parameters."""
        return frozenset(name for name, _ in self.model.named_parameters())

    def shared_names(self) -> list[tuple[str, ...]]:
        """List the names of each learned parameter that the model uses in several modules."""
        names: dict[nn.Parameter, tuple[str, ...]] = {}
        for name, p in self.model.named_parameters(remove_duplicate=False):
            names[p] = (*names.get(p, ()), name)
        return [aliases for p, aliases in names.items() if p.requires_grad and len(aliases) > 1]

    @cached_property
    def _aliases(self) -> list[tuple[str, str]]:
        """Further names of shared parameters, each with the parameter's name in theta.

        functional_call's tie_weights names a module twice if it is registered twice, and then
        leaves a dead tensor in place of its parameter.
        """
        first: dict[nn.Parameter, str] = {}
        named_parameters = [
            (f"{path}.{name}" if path else name, p)
            for path, module in self.model.named_modules()
            for name, p in module.named_parameters(recurse=False, remove_duplicate=False)
        ]
        names = [(alias, first.setdefault(p, alias)) for alias, p in named_parameters]
        return [(alias, name) for alias, name in names if alias != name]

    @cached_property
    def norms(self) -> dict[str, _BatchNorm]:
        """Batch norms of the model, by name."""
        return batch_norms(self.model)

    @cached_property
    def fixed_norm_parameters(self) -> frozenset[str]:
        """Scales and shifts that norm_adapts excludes from the inner loop."""
        kinds = scales_and_shifts(self.model).items()
        return frozenset(n for n, kind in kinds if self.norm_adapts not in ("all", kind))

    @cached_property
    def _is_plain(self) -> bool:
        return is_plain(self.model)

    @property
    def reads_statistics(self) -> bool:
        """True if the norms use the statistics contained in phi."""
        return self.mode.reads_stored(is_training=self.model.training)

    def predict(
        self,
        phi: Parameters,
        inputs: Inputs,
        rows: int | None = None,
        measured: dict[str, Statistics] | None = None,
    ) -> Tensor:
        """Compute the model's outputs under phi, in float32 or better: half precision drifts.

        Args:
            phi: parameters by name, and the norms' statistics where they are stored.
            inputs: [rows, *X], or a dict of such tensors.
            rows: number of leading rows that give the batch norms' statistics; None means all.
            measured: if given, collects the statistics of the batch norms, by name.

        """
        tensors, names = self._bind(phi)
        reads_stored = self.reads_statistics and measured is None
        stored = self.norms.keys() if reads_stored else self.pinned or ()
        in_training = [n for n, norm in self.norms.items() if norm.training]

        def network(inputs: Inputs) -> Tensor:
            given, named = ((), inputs) if isinstance(inputs, dict) else ((inputs,), None)
            norms = BatchNorms(names, stored, rows, count_rows(inputs), in_training, measured)
            with nullcontext() if self._is_plain else Substitutes(norms):
                # None removes a buffer, which torch's annotation does not allow
                held = cast(dict[str, Tensor], tensors)
                outputs: Tensor = torch.func.functional_call(
                    self.model, held, given, named, tie_weights=False
                )
            return outputs

        outputs = self.forward(network, inputs)
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs

    def predict_support(self, phi: Parameters, inputs: Inputs) -> Tensor:
        """Predict the support set; outputs of the episode's classes only."""
        return self._select_ways(self.predict(phi, inputs))

    def predict_query(self, phi: Parameters, episode: Episode) -> Tensor:
        """Predict the query set under the norm mode; outputs of the episode's classes only."""

        def predict(inputs: Inputs, rows: int | None) -> Tensor:
            return self.predict(phi, inputs, rows)

        support, query = episode.support.inputs, episode.query.inputs
        return self._select_ways(self.mode.predict_query(predict, support, query))

    def support_loss(self, phi: Parameters, support: Examples) -> Tensor:
        """Compute L(phi; support), the loss that the inner loop descends."""
        predictions = self.predict_support(phi, support.inputs)
        with Substitutes():
            return self.loss(predictions, support.targets)

    def judge_query(self, phi: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        """Compute L(phi; query) and its report {query_loss, <metrics>}, which has no gradient."""
        return self.judge(self.predict_query(phi, episode), episode.query.targets)

    def judge(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Report]:
        """Compute the loss of predictions for a query set, and its report."""
        with Substitutes():
            loss = self.loss(predictions, targets)
            report = {"query_loss": loss.detach()}
            for name, metric in self.metrics.items():
                report[name] = metric(predictions.detach(), targets)
        return loss, report

    def measure_statistics(self, phi: Parameters, inputs: Inputs) -> Report:
        """Measure the batch statistics that the norms would use, as constants."""
        constant = {n: p.detach() for n, p in phi.items() if not self._is_statistic(n)}
        measured: dict[str, Statistics] = {}
        self.predict(constant, inputs, measured=measured)
        return {
            f"{STATISTICS}{name}.{kind}": value.detach()
            for name, statistics in measured.items()
            for kind, value in statistics._asdict().items()
        }

    def _is_statistic(self, name: str) -> bool:
        """Check whether an entry of phi is a norm's statistic, not a weight of a like name."""
        return name.startswith(STATISTICS) and name not in self.parameter_names

    def _select_ways(self, predictions: Tensor) -> Tensor:
        return predictions if self.ways is None else predictions[..., : self.ways]

    def _bind(self, phi: Parameters) -> tuple[dict[str, Tensor | None], dict[int, str]]:
        """Map phi to the model's tensors, and the ids of running means to batch norms."""
        tensors: dict[str, Tensor | None] = {
            n: p for n, p in phi.items() if not self._is_statistic(n)
        }
        tensors |= {alias: phi[name] for alias, name in self._aliases if name in phi}
        names: dict[int, str] = {}
        for name, norm in self.norms.items():
            mean = norm.running_mean
            if mean is None:
                continue
            if (stored := phi.get(f"{STATISTICS}{name}.mean")) is not None:
                mean = tensors[f"{name}.running_mean"] = stored
                tensors[f"{name}.running_var"] = phi[f"{STATISTICS}{name}.variance"]
            tensors[f"{name}.num_batches_tracked"] = None  # do not count batches: no buffer changes
            names[id(mean)] = name
        return tensors, names
