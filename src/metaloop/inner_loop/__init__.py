"""How a learner adapts to one task."""

from metaloop.inner_loop.adapt import adapt
from metaloop.inner_loop.adjoint import ADJOINTS, EVALUATED_TWICE, Adjoint, AdjointName
from metaloop.inner_loop.curvature import Curvature
from metaloop.inner_loop.implicit import implicit_meta_loss
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.newton import Newton
from metaloop.inner_loop.norm_modes import NormMode, NormModeName
from metaloop.inner_loop.norms import has_statistics, scales_and_shifts
from metaloop.inner_loop.objective import STATISTICS, NormAdapts, Objective, Parameters, Report
from metaloop.inner_loop.part import Part, adapting, refuse_to_split
from metaloop.inner_loop.per_step import (
    PER_STEP,
    own_scales_and_shifts,
    own_statistics,
    tracking_loss,
)
from metaloop.inner_loop.step_size import (
    LearnedAlpha,
    LearnedStepSize,
    StepSize,
    learned_step_sizes,
)
from metaloop.inner_loop.transformations import (
    Adam,
    ClipNorm,
    ClipValue,
    Memory,
    Moment,
    Momentum,
    TowardsTheta,
    Transformation,
)
from metaloop.inner_loop.update import State, Update

__all__ = [
    "ADJOINTS",
    "EVALUATED_TWICE",
    "PER_STEP",
    "STATISTICS",
    "Adam",
    "Adjoint",
    "AdjointName",
    "ClipNorm",
    "ClipValue",
    "Curvature",
    "InnerStep",
    "LearnedAlpha",
    "LearnedStepSize",
    "Memory",
    "Moment",
    "Momentum",
    "Newton",
    "NormAdapts",
    "NormMode",
    "NormModeName",
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
    "has_statistics",
    "implicit_meta_loss",
    "learned_step_sizes",
    "own_scales_and_shifts",
    "own_statistics",
    "refuse_to_split",
    "scales_and_shifts",
    "tracking_loss",
]
