"""What a task asks of a model: losses and metrics of given parameters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.models.norm import statistics_of_first

Parameters = Mapping[str, Tensor]
Report = dict[str, Tensor]
NormMode = Literal["transductive", "inductive"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A model seen as a function of its parameters, with a task's loss and metrics.

    Works on one task at a time: no leading T in its shapes. Parameters that `requires_grad`
    excludes and buffers stay what the model holds.

    Attributes:
        model: any module.
        loss: mean loss of (predictions, targets), a scalar.
        metrics: further scalars of (predictions, targets), reported by name.
        norm_mode: whose statistics norms take for the query set: `transductive`, those of the
            query set itself; `inductive`, those of the support set, from one forward of both.

    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    norm_mode: NormMode = "transductive"

    def __post_init__(self) -> None:
        foreign = [
            f"{name} ({type(module).__name__})"
            for name, module in self.model.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        if self.norm_mode == "inductive" and foreign:
            raise UserError(
                f"norm_mode=inductive would be ignored by {', '.join(foreign[:6])}, which always "
                "takes the statistics of the batch at hand. Use metaloop.models.BatchNorm there, "
                "or norm_mode=transductive."
            )

    def meta_parameters(self) -> dict[str, Tensor]:
        """The model's parameters that are learned, by name: theta."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def predict(self, phi: Parameters, inputs: Tensor) -> Tensor:
        """The model's outputs under phi, float32 or better: a loss in half precision drifts."""
        outputs: Tensor = torch.func.functional_call(self.model, dict(phi), (inputs,))
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs

    def predict_query(self, phi: Parameters, episode: Episode) -> Tensor:
        """The outputs for the query set, under the norm mode."""
        if self.norm_mode == "transductive":
            return self.predict(phi, episode.query.inputs)
        rows = len(episode.support.inputs)
        both = torch.cat([episode.support.inputs, episode.query.inputs])
        with statistics_of_first(rows):
            return self.predict(phi, both)[rows:]

    def support_loss(self, phi: Parameters, support: Examples) -> Tensor:
        """L(phi; support), the loss that the inner loop descends."""
        return self.loss(self.predict(phi, support.inputs), support.targets)

    def judge_query(self, phi: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        """L(phi; query) and the report {query_loss, <metrics>}, which carries no gradient."""
        predictions = self.predict_query(phi, episode)
        loss = self.loss(predictions, episode.query.targets)
        report = {"query_loss": loss.detach()}
        for name, metric in self.metrics.items():
            report[name] = metric(predictions.detach(), episode.query.targets)
        return loss, report
