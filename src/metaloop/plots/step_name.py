"""What pictures call an inner step."""


def step_name(step: int) -> str:
    """Name the learner after so many inner steps."""
    return "before adaptation" if step == 0 else f"after {step} step{'s' * (step > 1)}"
