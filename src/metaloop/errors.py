"""Errors that speak to the user."""

import difflib
from collections.abc import Collection


class UserError(ValueError):
    """A mistake the user can mend: the commands print its message without a traceback.

    The message states the rule, what arrived and what to change, in the user's vocabulary.

    Examples:
        >>> from metaloop import Shapes, UserError
        >>> try:
        ...     Shapes(ways=1, shots=5)
        ... except UserError as error:
        ...     print(error)
        task.ways=1: with a single class every prediction is correct. Set it to 2 or more.

    """


class Diverged(UserError):  # noqa: N818 - a state that a run ends in
    """The end of a run whose values are no longer finite.

    Examples:
        >>> from metaloop import Diverged, UserError
        >>> try:
        ...     raise Diverged("The run diverged: the meta-gradient of meta-step 7 is not finite.")
        ... except UserError as error:  # the commands print it like any other
        ...     print(error)
        The run diverged: the meta-gradient of meta-step 7 is not finite.

    """


def nearest(name: str, known: Collection[str]) -> str:
    """The question "Did you mean ..?", where something known is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}? " if close else ""
