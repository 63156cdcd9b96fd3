"""Plain modules that adapt well: each with a body and a head."""

from metaloop.models.conv4 import Conv4
from metaloop.models.hf_encoder import HFEncoder
from metaloop.models.max_pool import MaxPool
from metaloop.models.mlp import MLP
from metaloop.models.norm import (
    BatchNorm,
    Statistics,
    measured_statistics,
    scales_and_shifts,
    statistics_of_first,
    stored_statistics,
)
from metaloop.models.resnet12 import ResNet12
from metaloop.models.wide_resnet import WideResNet
from metaloop.models.word_attention import WordAttention

__all__ = [
    "MLP",
    "BatchNorm",
    "Conv4",
    "HFEncoder",
    "MaxPool",
    "ResNet12",
    "Statistics",
    "WideResNet",
    "WordAttention",
    "measured_statistics",
    "scales_and_shifts",
    "statistics_of_first",
    "stored_statistics",
]
