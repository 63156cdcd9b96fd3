"""What pictures and tables call an inner step, a metric and its direction."""

from collections.abc import Collection

WORDS = {"nll": "negative log-likelihood", "brier": "Brier score", "psnr": "PSNR"}
DIRECTIONS = {"max": "higher is better", "min": "lower is better"}


def step_name(step: int) -> str:
    """Name the learner after so many inner steps."""
    return "before adaptation" if step == 0 else f"after {step} step{'s' * (step > 1)}"


def last_step_name(steps: Collection[int]) -> str:
    """Name several learners after the last inner step of each."""
    named = ", ".join(map(str, sorted(set(steps))))
    return (
        f"after inner step {named}" if named.isdigit() else f"after the last inner step ({named})"
    )


def metric_name(name: str) -> str:
    """Name a metric in words, without underscores."""
    return " ".join(WORDS.get(word, word) for word in name.split("_"))
