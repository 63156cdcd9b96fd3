"""Meta-learning algorithms: one short recipe per paper."""

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.anil import anil
from metaloop.algorithms.boil import boil
from metaloop.algorithms.cavia import cavia
from metaloop.algorithms.fomaml import fomaml
from metaloop.algorithms.gradient_based import (
    AnnealedMultiStepLoss,
    GradientBased,
    MultiStepLoss,
    OuterLoss,
    QueryLoss,
    SquaredDistance,
)
from metaloop.algorithms.imaml import imaml
from metaloop.algorithms.maml import maml
from metaloop.algorithms.maml_plus_plus import maml_plus_plus
from metaloop.algorithms.meta_curvature import meta_curvature
from metaloop.algorithms.meta_sgd import meta_sgd
from metaloop.algorithms.pmf import pmf
from metaloop.algorithms.pretrain import Pretrain, pretrain
from metaloop.algorithms.proto_maml import proto_maml
from metaloop.algorithms.prototypical import Prototypical
from metaloop.algorithms.r2d2 import R2D2
from metaloop.algorithms.reptile import reptile

__all__ = [
    "R2D2",
    "Algorithm",
    "AnnealedMultiStepLoss",
    "GradientBased",
    "MultiStepLoss",
    "OuterLoss",
    "Pretrain",
    "Prototypical",
    "QueryLoss",
    "SquaredDistance",
    "anil",
    "boil",
    "cavia",
    "fomaml",
    "imaml",
    "maml",
    "maml_plus_plus",
    "meta_curvature",
    "meta_sgd",
    "pmf",
    "pretrain",
    "proto_maml",
    "reptile",
]
