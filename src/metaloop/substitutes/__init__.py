"""Exact replacements of torch functions, so that any nn.Module can be vectorised over tasks."""

from metaloop.substitutes.batch_norm import BatchNorms, Statistics
from metaloop.substitutes.mode import Substitutes

__all__ = ["BatchNorms", "Statistics", "Substitutes"]
