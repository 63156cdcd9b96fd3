"""Draw what each algorithm reached: its value with the interval, a row each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from runs.budgets import Budget


def draw(rows: Mapping[str, Mapping[str, Any]], budget: Budget, path: Path) -> None:
    """Draw before and after adaptation, the best on top."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    percent = budget.metric == "accuracy"
    scale = 100 if percent else 1
    order = sorted(rows, key=lambda name: rows[name]["after"]["mean"], reverse=not percent)
    figure, panel = plt.subplots(figsize=(6.4, 1.2 + 0.32 * len(order)), layout="constrained")
    for when, color, marker, shift in (("before", "0.6", "o", -0.12), ("after", "C0", "D", 0.12)):
        found = [rows[name][when] for name in order]
        panel.errorbar(
            [scale * one["mean"] for one in found],
            [place + shift for place in range(len(order))],
            xerr=[scale * one["ci95"] for one in found],
            fmt=marker,
            color=color,
            label=f"{when} adaptation",
            capsize=3,
        )
    panel.set_yticks(range(len(order)), order)
    panel.margins(y=0.1)
    panel.set_title(f"{budget.name}: every learner under one budget", fontsize=11)
    panel.set_xlabel(f"{'accuracy, %' if percent else 'mean squared error'}; 95 % intervals")
    panel.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)
