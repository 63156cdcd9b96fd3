"""What a task asks of a model: losses and metrics of given parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.models.kernels import kernels_for
from metaloop.models.norm import (
    BatchNorm,
    Statistics,
    measured_statistics,
    scales_and_shifts,
    statistics_of_first,
    stored_statistics,
)

Parameters = Mapping[str, Tensor]
Report = dict[str, Tensor]
NormMode = Literal["transductive", "inductive", "support_plus_one", "frozen", "per_step"]
Network = Callable[[Tensor], Tensor]
NormAdapts = Literal["all", "scale", "shift", "none"]
STATISTICS = "statistics."  # entries of phi so named are no weights: norms normalise by them


def one_pass(network: Network, inputs: Tensor) -> Tensor:
    """Predictions are what the network puts out for the inputs."""
    return network(inputs)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A model seen as a function of its parameters, with a task's loss and metrics.

    Works on one task at a time: no leading T in its shapes. Parameters that `requires_grad`
    excludes and buffers stay what the model holds.

    Attributes:
        model: any module.
        loss: mean loss of (predictions, targets), a scalar.
        metrics: further scalars of (predictions, targets), reported by name.
        forward: from (network, inputs) to predictions: one pass, or whatever a task makes of a
            network, the rollouts of a policy for one.
        norm_mode: whose statistics norms take.
            `transductive`: the batch at hand's; for the query set, its own.
            `inductive`: for the query set the support set's, from one forward of both.
            `support_plus_one`: for a query example those of the support set with it alone
            (Reptile's: Nichol et al. 2018, arXiv:1803.02999, section 6.1).
            `frozen`: stored ones, in training and evaluation (pretrained networks).
            `per_step`: the batch at hand's in meta-training, in evaluation averages that were
            stored for every inner step (MAML++: Antoniou et al. 2019, arXiv:1810.09502).
        norm_adapts: which of the norms' parameters the inner loop may move.

    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    forward: Callable[[Network, Tensor], Tensor] = one_pass
    norm_mode: NormMode = "transductive"
    norm_adapts: NormAdapts = "all"

    def __post_init__(self) -> None:
        if self.norm_mode == "transductive":
            return
        unfit = [
            f"{name} ({type(module).__name__})"
            for name, module in self.model.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
            and not (self.norm_mode == "frozen" and module.track_running_stats)
        ]
        if unfit:
            rule = "holds no statistics" if self.norm_mode == "frozen" else "takes the batch's own"
            raise UserError(
                f"norm_mode={self.norm_mode} would be ignored by {', '.join(unfit[:6])}, which "
                f"always {rule}. Use metaloop.BatchNorm there, or norm_mode=transductive."
            )

    def meta_parameters(self) -> dict[str, Tensor]:
        """The model's parameters that are learned, by name: theta."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def shared_names(self) -> list[tuple[str, ...]]:
        """Every learned parameter that stands in several places: its names, theta's first."""
        names: dict[nn.Parameter, tuple[str, ...]] = {}
        for name, p in self.model.named_parameters(remove_duplicate=False):
            names[p] = (*names.get(p, ()), name)
        return [several for p, several in names.items() if p.requires_grad and len(several) > 1]

    @cached_property
    def _further_places(self) -> list[tuple[str, str]]:
        """Where else a shared parameter stands: its name there and its name in theta.

        functional_call's own tie_weights names a module twice that is registered twice, and then
        leaves a dead tensor in the place of its parameter.
        """
        first: dict[nn.Parameter, str] = {}
        places = [
            (f"{path}.{name}" if path else name, p)
            for path, module in self.model.named_modules()
            for name, p in module.named_parameters(recurse=False, remove_duplicate=False)
        ]
        named = [(place, first.setdefault(p, place)) for place, p in places]
        return [(place, name) for place, name in named if place != name]

    @cached_property
    def norms(self) -> dict[str, BatchNorm]:
        """The norms that can take statistics from elsewhere, by name."""
        modules = self.model.named_modules()
        return {name: m for name, m in modules if isinstance(m, BatchNorm)}

    @cached_property
    def fixed_norm_parameters(self) -> frozenset[str]:
        """Scales and shifts that norm_adapts keeps out of the inner loop."""
        kinds = scales_and_shifts(self.model).items()
        return frozenset(n for n, kind in kinds if self.norm_adapts not in ("all", kind))

    @property
    def reads_statistics(self) -> bool:
        """Whether the norms take the statistics that phi brings along."""
        in_evaluation = self.norm_mode == "per_step" and not self.model.training
        return self.norm_mode == "frozen" or in_evaluation

    def predict(self, phi: Parameters, inputs: Tensor) -> Tensor:
        """The model's outputs under phi, float32 or better: a loss in half precision drifts."""
        if self.norm_mode == "frozen":
            self._freeze_foreign_norms()
        weights = {n: p for n, p in phi.items() if not n.startswith(STATISTICS)}
        placed = {place: phi[name] for place, name in self._further_places if name in phi}

        def network(inputs: Tensor) -> Tensor:
            outputs: Tensor = torch.func.functional_call(
                self.model, {**weights, **placed}, (inputs,), tie_weights=False
            )
            return outputs

        with stored_statistics(self._stored(phi)):
            outputs = self.forward(network, inputs)
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs

    def predict_query(self, phi: Parameters, episode: Episode) -> Tensor:
        """The outputs for the query set, under the norm mode."""
        support, query = episode.support.inputs, episode.query.inputs
        if self.norm_mode == "inductive":
            with statistics_of_first(len(support)):
                return self.predict(phi, torch.cat([support, query]))[len(support) :]
        if self.norm_mode == "support_plus_one":

            def predict_one(example: Tensor) -> Tensor:
                return self.predict(phi, torch.cat([support, example[None]]))[-1]

            with kernels_for(tasks=0):
                return torch.func.vmap(predict_one, randomness="different")(query)
        return self.predict(phi, query)

    def support_loss(self, phi: Parameters, support: Examples) -> Tensor:
        """L(phi; support), the loss that the inner loop descends."""
        return self.loss(self.predict(phi, support.inputs), support.targets)

    def judge_query(self, phi: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        """L(phi; query) and the report {query_loss, <metrics>}, which carries no gradient."""
        return self.judge(self.predict_query(phi, episode), episode.query.targets)

    def judge(self, predictions: Tensor, targets: Tensor) -> tuple[Tensor, Report]:
        """The loss of predictions for a query set, and its report."""
        loss = self.loss(predictions, targets)
        report = {"query_loss": loss.detach()}
        for name, metric in self.metrics.items():
            report[name] = metric(predictions.detach(), targets)
        return loss, report

    def measure_statistics(self, phi: Parameters, inputs: Tensor) -> Report:
        """The statistics by which the norms would normalise this batch, as constants."""
        constant = {n: p.detach() for n, p in phi.items() if not n.startswith(STATISTICS)}
        with measured_statistics() as measured:
            self.predict(constant, inputs)
        return {
            f"{STATISTICS}{name}.{kind}": value.detach()
            for name, norm in self.norms.items()
            for kind, value in measured[norm]._asdict().items()
        }

    def _stored(self, phi: Parameters) -> dict[nn.Module, Statistics]:
        return {
            norm: Statistics(*(phi[f"{STATISTICS}{name}.{kind}"] for kind in Statistics._fields))
            for name, norm in self.norms.items()
            if f"{STATISTICS}{name}.mean" in phi
        }

    def _freeze_foreign_norms(self) -> None:
        """Torch's norms read their stored statistics in evaluation mode alone."""
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
