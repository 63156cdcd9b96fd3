"""Draw a run's learning curves from metrics.csv."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

Row = Mapping[str, str]


def draw_learning_curve(rows: Sequence[Row]) -> Figure:
    """Draw loss (and accuracy) before and after adaptation over the meta-steps.

    Training shows the mean over all meta-steps, and as thin lines the values of single meta-steps
    before and after adaptation. Validation also shows its 95 % band. `rows` are from metrics.csv.
    """
    columns = {name.partition("/")[2] for row in rows for name in row}
    names = [name for name in ("query_loss", "accuracy") if name in columns]
    figure = Figure(figsize=(4.6 * max(1, len(names)), 3.4), layout="constrained")
    for axis, name in zip(
        figure.subplots(1, max(1, len(names)), squeeze=False)[0], names, strict=False
    ):
        for key, label, style in (
            (f"train/{name}_before", "one meta-step, before", {"color": "C7", "lw": 0.8}),
            (f"train/{name}_after", "one meta-step, after", {"color": "C9", "lw": 0.8}),
            (f"train/{name}", "train, after", {"color": "C0", "lw": 1.6}),
            (f"val/{name}_before", "validation, before", {"color": "C3", "marker": "o", "ms": 3}),
            (f"val/{name}", "validation, after", {"color": "C2", "marker": "o", "ms": 3}),
        ):
            steps, values = _series(rows, key)
            if steps:
                point = {"marker": "."} if len(steps) == 1 else {}  # a line would be invisible
                axis.plot(steps, values, label=label, **{**point, **style})
        steps, after = _series(rows, f"val/{name}")
        _, width = _series(rows, f"val/{name}_ci95")
        if len(width) == len(after):
            low = [a - w for a, w in zip(after, width, strict=True)]
            high = [a + w for a, w in zip(after, width, strict=True)]
            axis.fill_between(
                steps, low, high, color="C2", alpha=0.25, label="closed 95 % interval"
            )
        axis.set_xlabel("meta-step")
        axis.set_ylabel(name.replace("_", " "))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8)
    return figure


def _series(rows: Sequence[Row], key: str) -> tuple[list[int], list[float]]:
    points = [(int(row["step"]), float(row[key])) for row in rows if row.get(key)]
    return [step for step, _ in points], [value for _, value in points]
