"""The inner loop: adapt a learner to one task."""

from metaloop.inner_loop.adapt import adapt
from metaloop.inner_loop.adjoint import ADJOINTS, FIRST_ORDER, Adjoint, AdjointName, Composition
from metaloop.inner_loop.curvature import Curvature
from metaloop.inner_loop.inner_step import InnerStep, gradient_of
from metaloop.inner_loop.newton import Newton
from metaloop.inner_loop.norm_modes import NormMode, NormModeName
from metaloop.inner_loop.norms import has_statistics, scales_and_shifts
from metaloop.inner_loop.objective import STATISTICS, NormAdapts, Objective, Parameters, Report
from metaloop.inner_loop.optimizers import Adagrad, Adam, AdamW, Momentum, RMSprop
from metaloop.inner_loop.part import Part, refuse_to_split, select_part
from metaloop.inner_loop.per_step import (
    PER_STEP,
    at_step,
    own_scales_and_shifts,
    own_statistics,
    tracking_loss,
)
from metaloop.inner_loop.schedule import ScheduledStepSize, StepSizeDecay
from metaloop.inner_loop.step_size import (
    GroupedStepSize,
    LearnedAlpha,
    LearnedStepSize,
    StepSize,
    learned_step_sizes,
)
from metaloop.inner_loop.transformations import (
    ClipNorm,
    ClipValue,
    Memory,
    Moment,
    TowardsTheta,
    Transformation,
    WeightDecay,
)
from metaloop.inner_loop.update import State, Update

__all__ = [
    "ADJOINTS",
    "FIRST_ORDER",
    "PER_STEP",
    "STATISTICS",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adjoint",
    "AdjointName",
    "ClipNorm",
    "ClipValue",
    "Composition",
    "Curvature",
    "GroupedStepSize",
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
    "RMSprop",
    "Report",
    "ScheduledStepSize",
    "State",
    "StepSize",
    "StepSizeDecay",
    "TowardsTheta",
    "Transformation",
    "Update",
    "WeightDecay",
    "adapt",
    "at_step",
    "gradient_of",
    "has_statistics",
    "learned_step_sizes",
    "own_scales_and_shifts",
    "own_statistics",
    "refuse_to_split",
    "scales_and_shifts",
    "select_part",
    "tracking_loss",
]
