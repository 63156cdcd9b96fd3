"""Draw a run's learning curves from metrics.csv."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metaloop.plots.legend import put_legend_below
from metaloop.plots.names import metric_name
from metaloop.plots.palette import BLUE, GREEN, SKY, VERMILION
from metaloop.plots.title import set_title
from metaloop.user_text import for_figure

Row = Mapping[str, str]
# the columns of metrics.csv, by the metric's name, with label and style
CURVES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "train/{}_before": (
        "training, one meta-step, before adapting",
        {"color": "0.5", "lw": 0.8, "ls": ":"},
    ),
    "train/{}_after": (
        "training, one meta-step, after adapting",
        {"color": SKY, "lw": 0.8},
    ),
    "train/{}": ("training, mean, after adapting", {"color": BLUE, "lw": 1.6}),
    "val/{}_before": (
        "validation, before adapting",
        {"color": VERMILION, "marker": "s", "ms": 4, "ls": "--"},
    ),
    "val/{}": ("validation, after adapting", {"color": GREEN, "marker": "o", "ms": 4}),
}


def draw_learning_curve(
    rows: Sequence[Row], metrics: Sequence[str] = ("query_loss", "accuracy"), title: str = ""
) -> Figure:
    """Draw metrics before and after adaptation over the meta-steps.

    Training shows the mean over all meta-steps, and as thin lines the values of single meta-steps
    before and after adaptation. Validation also shows its 95 % band.

    Args:
        rows: from metrics.csv.
        metrics: a panel for each that is logged.
        title: stands over all panels.

    """
    columns = {name.partition("/")[2] for row in rows for name in row}
    names = [name for name in metrics if name in columns]
    figure = Figure(figsize=(5.2 * max(1, len(names)), 4.0), layout="constrained")
    for axis, name in zip(
        figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False
    ):
        for column, (label, style) in CURVES.items():
            steps, values = _series(rows, column.format(name))
            if steps:
                point = {"marker": "."} if len(steps) == 1 else {}  # a line would be invisible
                axis.plot(steps, values, label=label, **{**point, **style})
        steps, after = _series(rows, f"val/{name}")
        _, width = _series(rows, f"val/{name}_ci95")
        if after and len(width) == len(after):
            low = [a - w for a, w in zip(after, width, strict=True)]
            high = [a + w for a, w in zip(after, width, strict=True)]
            axis.fill_between(
                steps, low, high, color=GREEN, alpha=0.25, label="its closed 95 % interval"
            )
        axis.set_xlabel("meta-step")
        axis.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        axis.set_ylabel(for_figure(metric_name(name)))
        axis.grid(alpha=0.3)
        put_legend_below(axis)
    set_title(figure, title)
    return figure


def _series(rows: Sequence[Row], key: str) -> tuple[list[int], list[float]]:
    points = [(int(row["step"]), float(row[key])) for row in rows if row.get(key)]
    return [step for step, _ in points], [value for _, value in points]
