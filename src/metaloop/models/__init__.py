"""Plain modules that adapt well: each with a body and a head."""

from metaloop.models.conv4 import Conv4
from metaloop.models.mlp import MLP
from metaloop.models.norm import (
    BatchNorm,
    Statistics,
    measured_statistics,
    scales_and_shifts,
    statistics_of_first,
    stored_statistics,
)

__all__ = [
    "MLP",
    "BatchNorm",
    "Conv4",
    "Statistics",
    "measured_statistics",
    "scales_and_shifts",
    "statistics_of_first",
    "stored_statistics",
]
