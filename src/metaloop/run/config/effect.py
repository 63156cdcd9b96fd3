"""Refuse changes to a run's config that have no effect on an evaluation or adaptation.

So the recorded protocol is true: it has the values that the run was trained with.
"""

from collections.abc import Iterator
from contextlib import suppress

from metaloop.algorithms import Algorithm
from metaloop.errors import UserError
from metaloop.run.config.construct import Node, construct
from metaloop.run.config.keys import effect_of, leaves
from metaloop.run.config.run_config import RunConfig

INSTEAD = {
    "algorithm.inner_steps": "K here is algorithm.eval_inner_steps=K. ",
    "data.meta_batch_size": "Tasks at once here are data.eval_meta_batch_size=N. ",
    "data.validation_episodes": "Episodes here are evaluation.episodes=N. ",
    "evaluation.checkpoint": "Here it is checkpoint=best or checkpoint=last. ",
}


def require_effect(config: RunConfig, trained: RunConfig, algorithm: Algorithm) -> None:
    """Refuse a changed key that has no effect on a trained run.

    Args:
        config: the config that the command composed over the run's.
        trained: the run's own config.
        algorithm: built from `config`.

    Raises:
        UserError: if there is such a key; it names the first one and what to change.

    """
    command = config.command
    before, after = dict(leaves(trained.content)), dict(leaves(config.content))
    changed = [key for key in after if key not in before or after[key] != before[key]]
    idle = [key for key in changed if command not in effect_of(key).commands]
    for key in (*idle, *_find_idle_arguments(config.algorithm, trained.algorithm, algorithm)):
        raise UserError(
            f"{key}={after[key]} has no effect on a run that is trained (with "
            f"{before.get(key)}): metaloop-{command} takes it as it was. {INSTEAD.get(key, '')}"
            "Leave it out, or train another run with it."
        )


def _find_idle_arguments(node: Node, before: Node, algorithm: Algorithm) -> Iterator[str]:
    """Yield the changed arguments of the algorithm that only its meta-loss reads."""
    for name in (name for name in node if node[name] != before.get(name)):
        if name == "inner_steps":
            yield f"algorithm.{name}"
        if algorithm.adapts_by is None:
            continue
        with suppress(UserError):  # the trained value may not fit the other ones
            as_trained = construct(
                {**node, name: before.get(name)},
                Algorithm,
                key="algorithm",
                objective=algorithm.objective,
                classes=0,
            )
            if as_trained.adapts_by == algorithm.adapts_by:
                yield f"algorithm.{name}"
