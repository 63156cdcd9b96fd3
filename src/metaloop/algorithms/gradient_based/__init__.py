"""Algorithms that adapt by gradient steps: their pieces, and which of them go together."""

from metaloop.algorithms.gradient_based.gradient_based import GradientBased
from metaloop.algorithms.gradient_based.outer_loss import (
    AnnealedMultiStepLoss,
    MultiStepLoss,
    OuterLoss,
    QueryLoss,
    SquaredDistance,
)
from metaloop.algorithms.gradient_based.start import StartName

__all__ = [
    "AnnealedMultiStepLoss",
    "GradientBased",
    "MultiStepLoss",
    "OuterLoss",
    "QueryLoss",
    "SquaredDistance",
    "StartName",
]
