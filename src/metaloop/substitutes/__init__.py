"""Torch functions replaced by exact ones: any nn.Module, exact and vectorised over tasks."""

from metaloop.substitutes.batch_norm import BatchNorms, Statistics
from metaloop.substitutes.mode import Substitutes

__all__ = ["BatchNorms", "Statistics", "Substitutes"]
