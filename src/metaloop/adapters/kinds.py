"""The kinds of layers that take low-rank additions, applied without merging them.

W x + b becomes W x + b + scale * B (A x), Hu et al. 2021 (arXiv:2106.09685), eq. 3. Tasks differ
in A and B alone and share one W; W + scale * B A would be a copy of W for each task.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

A, B, SCALE = "lora_A", "lora_B", "lora_scale"
Weights = Mapping[str, Tensor]
Matrices = dict[str, tuple[int, int]]


class Kind(ABC):
    """The contract: which matrices a layer has, how additions are applied and merged.

    A matrix has a name within its layer, "" where it is the only one; its A and B are parameters
    of the layer, `lora_A` and `lora_B`, or `lora_A_NAME` and `lora_B_NAME`.
    """

    @abstractmethod
    def matrices(self, layer: nn.Module) -> Matrices:
        """Return each matrix's (outputs, inputs) by name; none for another kind of layer."""

    @abstractmethod
    def install(self, layer: nn.Module) -> None:
        """Make the layer's forward add its low-rank products."""

    @abstractmethod
    def merge(self, weights: Weights, changes: Weights) -> dict[str, Tensor]:
        """Return the layer's weights, each matrix with its change added; changes are by matrix."""


class Linear(Kind):
    """torch.nn.Linear, and classes that inherit its forward."""

    def matrices(self, layer: nn.Module) -> Matrices:
        if not _computes_as(layer, nn.Linear):
            return {}
        outputs, inputs = _weight(layer).shape
        return {"": (outputs, inputs)}

    def install(self, layer: nn.Module) -> None:
        layer.register_forward_hook(_add_product, with_kwargs=True)

    def merge(self, weights: Weights, changes: Weights) -> dict[str, Tensor]:
        return {**weights, "weight": weights["weight"] + changes[""]}


class TransposedLinear(Linear):
    """The linear layer of Hugging Face's GPT-2, called Conv1D there: its weight is transposed."""

    def matrices(self, layer: nn.Module) -> Matrices:
        kind = type(layer)
        if kind.__name__ != "Conv1D" or not kind.__module__.startswith("transformers."):
            return {}
        inputs, outputs = _weight(layer).shape
        return {"": (outputs, inputs)}

    def merge(self, weights: Weights, changes: Weights) -> dict[str, Tensor]:
        return {**weights, "weight": weights["weight"] + changes[""].T}


class Convolution(Kind):
    """A convolution without groups: A is its kernel with `rank` outputs, B a 1 x 1 convolution."""

    def matrices(self, layer: nn.Module) -> Matrices:
        if not _computes_as(layer, nn.Conv1d, nn.Conv2d, nn.Conv3d) or layer.groups != 1:
            return {}
        weight = _weight(layer)
        return {"": (weight.shape[0], weight[0].numel())}

    def install(self, layer: nn.Module) -> None:
        layer.register_forward_hook(_add_convolution, with_kwargs=True)

    def merge(self, weights: Weights, changes: Weights) -> dict[str, Tensor]:
        weight = weights["weight"]
        return {**weights, "weight": weight + changes[""].view_as(weight)}


def low_rank(layer: nn.Module, x: Tensor, matrix: str = "") -> Tensor:
    """Compute scale * B (A x) over the last dimension of x."""
    a, b = (getattr(layer, name) for name in names_of(matrix))
    scale: float = getattr(layer, SCALE)
    product: Tensor = scale * F.linear(F.linear(x, a), b)
    return product


def names_of(matrix: str) -> tuple[str, str]:
    """Name the parameters A and B of a matrix."""
    ending = f"_{matrix}" if matrix else ""
    return A + ending, B + ending


def _add_product(
    layer: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor], output: Tensor
) -> Tensor:
    return output + low_rank(layer, _only(args, kwargs))


def _add_convolution(
    layer: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor], output: Tensor
) -> Tensor:
    assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    a, b = (getattr(layer, name) for name in names_of(""))
    kernel = a.view(len(a), *layer.weight.shape[1:])
    narrow: Tensor = layer._conv_forward(_only(args, kwargs), kernel, None)
    channels = output.ndim - len(layer.kernel_size) - 1  # the batch dimension may be absent
    wide: Tensor = torch.tensordot(narrow, b, ([channels], [1])).movedim(-1, channels)
    scale: float = getattr(layer, SCALE)
    return output + scale * wide


def _only(args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Tensor:
    (x,) = (*args, *kwargs.values())
    return x


def _computes_as(layer: nn.Module, *kinds: type[nn.Module]) -> bool:
    """Check that a layer has an initialised weight and the forward of one of these classes."""
    weight = layer._parameters.get("weight")
    is_initialised = weight is not None and not nn.parameter.is_lazy(weight)
    return is_initialised and any(type(layer).forward is kind.forward for kind in kinds)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer._parameters["weight"]
    assert weight is not None
    return weight
