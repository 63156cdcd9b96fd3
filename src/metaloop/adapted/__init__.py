"""Adapt a trained learner to a user's own examples."""

from metaloop.adapted.adapted import Adapted, adapt_to
from metaloop.adapted.curve import judge_path, leave_one_out, rows_to_leave_out
from metaloop.adapted.export import Format, export, freeze, require_fixed_norms, require_format
from metaloop.adapted.ways import Head, fit_ways
from metaloop.tasks.readers.arrays import Array, Arrays, Labels

__all__ = [
    "Adapted",
    "Array",
    "Arrays",
    "Format",
    "Head",
    "Labels",
    "adapt_to",
    "export",
    "fit_ways",
    "freeze",
    "judge_path",
    "leave_one_out",
    "require_fixed_norms",
    "require_format",
    "rows_to_leave_out",
]
