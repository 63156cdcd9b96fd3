"""Plain modules that adapt well: each with a body and a head."""

from metaloop.models.conv4 import Conv4
from metaloop.models.mlp import MLP
from metaloop.models.norm import BatchNorm, statistics_of_first

__all__ = ["MLP", "BatchNorm", "Conv4", "statistics_of_first"]
