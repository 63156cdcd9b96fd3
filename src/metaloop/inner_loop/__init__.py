"""How a learner adapts to one task."""

from metaloop.inner_loop.adapt import adapt
from metaloop.inner_loop.adjoint import ADJOINTS, Adjoint, AdjointName
from metaloop.inner_loop.objective import NormMode, Objective, Parameters, Report
from metaloop.inner_loop.update import GradientDescent, Update

__all__ = [
    "ADJOINTS",
    "Adjoint",
    "AdjointName",
    "GradientDescent",
    "NormMode",
    "Objective",
    "Parameters",
    "Report",
    "Update",
    "adapt",
]
