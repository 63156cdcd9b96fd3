"""Compute a meta-gradient: chunks of a meta-batch, vectorised, compiled and checked."""

from metaloop.meta_gradient.adaptation_path import adaptation_path
from metaloop.meta_gradient.autotune import Way, find_fastest
from metaloop.meta_gradient.chunks import TasksAtOnce
from metaloop.meta_gradient.compiled import CompiledChunkGradient
from metaloop.meta_gradient.meta_gradient import AtOnce, meta_gradient
from metaloop.meta_gradient.preflight import (
    Tried,
    Verdict,
    check,
    check_draw,
    draw_episodes,
    draw_extremes,
    preflight_check,
    warn_of_slower,
)
from metaloop.meta_gradient.side_by_side import ChunksAtOnce

__all__ = [
    "AtOnce",
    "ChunksAtOnce",
    "CompiledChunkGradient",
    "TasksAtOnce",
    "Tried",
    "Verdict",
    "Way",
    "adaptation_path",
    "check",
    "check_draw",
    "draw_episodes",
    "draw_extremes",
    "find_fastest",
    "meta_gradient",
    "preflight_check",
    "warn_of_slower",
]
