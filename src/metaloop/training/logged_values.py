"""Summarise the reports of episodes as the values that are logged."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from metaloop.inner_loop import Report, learned_step_sizes
from metaloop.training.estimate import estimate

Values = dict[str, float]


def summarize(evaluated: Report) -> Values:
    """Summarise an evaluation: each value before and after adaptation, and the gain.

    `<name>` is the mean after the last inner step, `<name>_ci95` its half-width,
    `<name>_before` the mean at phi_0; `adaptation_gain` the query loss before minus after.
    """
    summary: Values = {}
    for name, values in evaluated.items():
        mean, half_width, _ = estimate(values)
        summary[name], summary[f"{name}_before"] = float(mean[-1]), float(mean[0])
        summary[f"{name}_ci95"] = float(half_width[-1])
    summary["adaptation_gain"] = summary["query_loss_before"] - summary["query_loss"]
    return summary


def summary_names(metrics: Iterable[str], *, is_detailed: bool) -> list[str]:
    """Return the names that `summarize` gives for these metrics, of support and query set."""
    detailed = ("support_gradient_norm", "query_gradient_norm", "gradient_cosine")
    both = [name for metric in metrics for name in (metric, f"support_{metric}")]
    reported = ["query_loss", "support_loss", *both, *(detailed if is_detailed else ())]
    return ["adaptation_gain"] + [f"{n}{end}" for end in ("", "_before", "_ci95") for n in reported]


def summarize_path(evaluated: Report) -> Values:
    """Return each value's mean at each inner step: `<name>/<step>`."""
    return {
        f"{name}/{step}": mean
        for name, values in evaluated.items()
        for step, mean in enumerate(estimate(values).mean.tolist())
    }


def summarize_step_sizes(meta: Mapping[str, Tensor]) -> Values:
    """Return learned step sizes: `<tensor>/<step>`, or mean and deviation over a tensor."""
    values: Values = {}
    for name, alpha in learned_step_sizes(meta).items():
        if alpha.is_per_step:
            values |= {f"{name}/{step}": a for step, a in enumerate(alpha.values.tolist())}
        else:
            values[f"{name}/mean"] = float(alpha.values.mean())
            values[f"{name}/std"] = float(alpha.values.std(correction=0))
    return values
