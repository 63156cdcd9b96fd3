"""One short recipe per paper over one inner loop."""

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.anil import anil
from metaloop.algorithms.boil import boil
from metaloop.algorithms.compilation import CompiledChunkGradient
from metaloop.algorithms.fomaml import fomaml
from metaloop.algorithms.gradient_based import GradientBased
from metaloop.algorithms.maml import maml
from metaloop.algorithms.meta_gradient import TasksAtOnce, adaptation_path, meta_gradient
from metaloop.algorithms.meta_sgd import meta_sgd
from metaloop.algorithms.outer_loss import MultiStepLoss, OuterLoss, QueryLoss, SquaredDistance
from metaloop.algorithms.reptile import reptile
from metaloop.algorithms.vmap_check import exact_tasks_at_once

__all__ = [
    "Algorithm",
    "CompiledChunkGradient",
    "GradientBased",
    "MultiStepLoss",
    "OuterLoss",
    "QueryLoss",
    "SquaredDistance",
    "TasksAtOnce",
    "adaptation_path",
    "anil",
    "boil",
    "exact_tasks_at_once",
    "fomaml",
    "maml",
    "meta_gradient",
    "meta_sgd",
    "reptile",
]
