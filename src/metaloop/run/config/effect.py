"""Which keys of a run's config an evaluation or adaptation may change: those with an effect.

What a protocol names is then what was done: a key of the training is as the run was trained.
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
    """Refuse a key that a command on a trained run has changed without any effect.

    Args:
        config: what the command composed over the run's config.
        trained: the run's.
        algorithm: made from `config`.

    Raises:
        UserError: the first such key, and what to change.

    """
    command = config.command
    before, after = dict(leaves(trained.content)), dict(leaves(config.content))
    changed = [key for key in after if key not in before or after[key] != before[key]]
    idle = [key for key in changed if command not in effect_of(key).commands]
    for key in (*idle, *_of_meta_loss(config.algorithm, trained.algorithm, algorithm)):
        raise UserError(
            f"{key}={after[key]} has no effect on a run that is trained (with "
            f"{before.get(key)}): metaloop-{command} takes it as it was. {INSTEAD.get(key, '')}"
            "Leave it out, or train another run with it."
        )


def _of_meta_loss(node: Node, before: Node, algorithm: Algorithm) -> Iterator[str]:
    """The changed arguments of the algorithm that only its meta-loss reads."""
    for name in (name for name in node if node[name] != before.get(name)):
        if name == "inner_steps":
            yield f"algorithm.{name}"
        if algorithm.adapts_by is None:
            continue
        with suppress(UserError):  # the value as trained may not go with the others
            as_trained = construct(
                {**node, name: before.get(name)},
                Algorithm,
                key="algorithm",
                objective=algorithm.objective,
                classes=0,
            )
            if as_trained.adapts_by == algorithm.adapts_by:
                yield f"algorithm.{name}"
