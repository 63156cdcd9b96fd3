"""Pure functions from values to figures."""

from metaloop.plots.adaptation_curve import draw_adaptation_curve
from metaloop.plots.comparison import draw_comparison, draw_differences
from metaloop.plots.confusion import draw_confusion
from metaloop.plots.fit import draw_fit
from metaloop.plots.image_episode import draw_image_episode
from metaloop.plots.learning_curve import draw_learning_curve
from metaloop.plots.one_task import draw_curve, draw_one_task, is_curve
from metaloop.plots.predictions import draw_predictions
from metaloop.plots.reliability import draw_reliability
from metaloop.plots.step_sizes import draw_step_sizes
from metaloop.plots.trajectories import draw_trajectories
from metaloop.plots.validation_curves import draw_validation_curves

__all__ = [
    "draw_adaptation_curve",
    "draw_comparison",
    "draw_confusion",
    "draw_curve",
    "draw_differences",
    "draw_fit",
    "draw_image_episode",
    "draw_learning_curve",
    "draw_one_task",
    "draw_predictions",
    "draw_reliability",
    "draw_step_sizes",
    "draw_trajectories",
    "draw_validation_curves",
    "is_curve",
]
