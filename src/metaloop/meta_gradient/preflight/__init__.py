"""Check task, network, loss, metrics and exactness before the first meta-step."""

from metaloop.meta_gradient.preflight.check import check
from metaloop.meta_gradient.preflight.checks import preflight_check, warn_of_slower
from metaloop.meta_gradient.preflight.task_check import check_draw, draw_episodes, draw_extremes
from metaloop.meta_gradient.preflight.verdict import Tried, Verdict

__all__ = [
    "Tried",
    "Verdict",
    "check",
    "check_draw",
    "draw_episodes",
    "draw_extremes",
    "preflight_check",
    "warn_of_slower",
]
