"""What is checked before the first meta-step."""

from metaloop.meta_gradient.preflight.exactness import exact_at_once, exact_tasks_at_once

__all__ = ["exact_at_once", "exact_tasks_at_once"]
