"""Norm modes: where batch norms take their statistics from."""

from metaloop.inner_loop.norm_modes.frozen import Frozen
from metaloop.inner_loop.norm_modes.inductive import Inductive
from metaloop.inner_loop.norm_modes.norm_mode import NormMode, NormModeName
from metaloop.inner_loop.norm_modes.per_step import PerStep
from metaloop.inner_loop.norm_modes.support_plus_one import SupportPlusOne
from metaloop.inner_loop.norm_modes.transductive import Transductive

NORM_MODES: dict[NormModeName, NormMode] = {
    mode.name: mode for mode in (Transductive(), Inductive(), SupportPlusOne(), Frozen(), PerStep())
}

__all__ = ["NORM_MODES", "NormMode", "NormModeName"]
