"""Judge an adaptation at each inner step, and summarise and print the result."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.adapted import Adapted, judge_path, leave_one_out, rows_to_leave_out
from metaloop.episode import Examples
from metaloop.inner_loop import Report
from metaloop.run.evaluation.results import finite_or_none
from metaloop.tasks.readers.given import Given
from metaloop.training.estimate import estimate
from metaloop.user_text import Terminal, say

JUDGES = {
    "query": "by the query's labels",
    "leave_one_out": "by leaving out each support example in turn",
    "support": "by the support set itself, since there is nothing else to judge by",
}
MADE = (
    "predictions.csv",
    "predictions.png",
    "adaptation_curve.png",
    "fit.png",
    "adapted.pt",
    "adapted.safetensors",
    "adapted.pt2",
    "adapted.onnx",
    "adapted.txt",
)


class Judged(NamedTuple):
    """Values along the inner loop and their judge: query, leave_one_out or support."""

    report: Report
    by: str
    norm_mode: str


def judge(adapted: Adapted, query: Given | None) -> Judged:
    """Judge by the query's labels; without any, by leaving out each support example in turn."""
    mode = adapted.algorithm.objective.norm_mode
    if query is not None and query.labels is not None:
        examples = Examples(adapted.to_inputs(query.inputs), adapted.to_targets(query.labels))
        return Judged(judge_path(adapted, examples), "query", mode)
    left_out = rows_to_leave_out(adapted)
    if len(left_out) == 0:
        return Judged(judge_path(adapted, None), "support", mode)
    say(f"Judging {JUDGES['leave_one_out']}: {len(left_out)} more adaptations ..")
    report, mode_of_judge = leave_one_out(adapted, left_out)
    return Judged(report, "leave_one_out", mode_of_judge)


def summarize_curve(judged: Judged) -> dict[str, object]:
    """Summarise mean, half-width and number of examples at each inner step, for results.json."""
    curves = {name: estimate(values) for name, values in judged.report.items()}
    steps = next(iter(judged.report.values())).shape[1]
    return {
        "judged_by": judged.by,
        "norm_mode_of_judge": judged.norm_mode,
        "interval": "examples",
        "inner_steps": list(range(steps)),
        "metrics": {
            name: {
                "mean": finite_or_none(curve.mean.tolist()),
                "ci95": finite_or_none(curve.half_width.tolist()),
                "examples": curve.episodes,
            }
            for name, curve in curves.items()
        },
    }


def describe_judge(judged: Judged) -> str:
    """Say what the curve is measured on, for its title."""
    number, band = len(next(iter(judged.report.values()))), "95 % interval over examples"
    if judged.by == "query":
        return f"{len(judged.report['query_loss'])} query examples, {band}"
    if judged.by == "leave_one_out":
        each = f"leaving out each of {number} support examples in turn"
        return f"{each} (norms: {judged.norm_mode}), {band}"
    return f"the {number} support examples themselves, {band}"


def print_adaptation(judged: Judged, skipped: Sequence[str], folder: Path) -> None:
    """Print each value before and after adaptation, the judge, and the files."""
    console = Terminal()
    for message in skipped:
        console.print("Skipped:", style="yellow", end=" ")
        console.print(message, soft_wrap=True)
    for name, values in judged.report.items():
        means = finite_or_none(estimate(values).mean.tolist())
        before, after = (
            "diverged" if mean is None else f"{mean:.4f}" for mean in (means[0], means[-1])
        )
        console.print(f"{name.replace('_', ' ')}: {before} -> {after}", highlight=False)
    console.print(f"Judged {JUDGES[judged.by]}.")
    for name in MADE:
        if (folder / name).exists():
            say(f"  {folder / name}")
    say(f"Results: {folder / 'results.json'}")
