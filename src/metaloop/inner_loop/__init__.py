"""How a learner adapts to one task."""

from metaloop.inner_loop.adapt import adapt
from metaloop.inner_loop.adjoint import ADJOINTS, Adjoint, AdjointName
from metaloop.inner_loop.objective import NormMode, Objective, Parameters, Report
from metaloop.inner_loop.part import Part, adapting
from metaloop.inner_loop.step_size import LearnedStepSize, StepSize
from metaloop.inner_loop.transformations import (
    Adam,
    ClipNorm,
    ClipValue,
    Momentum,
    TowardsTheta,
    Transformation,
)
from metaloop.inner_loop.update import State, Update

__all__ = [
    "ADJOINTS",
    "Adam",
    "Adjoint",
    "AdjointName",
    "ClipNorm",
    "ClipValue",
    "LearnedStepSize",
    "Momentum",
    "NormMode",
    "Objective",
    "Parameters",
    "Part",
    "Report",
    "State",
    "StepSize",
    "TowardsTheta",
    "Transformation",
    "Update",
    "adapt",
    "adapting",
]
