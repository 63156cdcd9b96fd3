"""Errors that speak to the user."""

import difflib
from collections.abc import Collection


class UserError(ValueError):
    """A mistake the user can mend: the commands print its message without a traceback.

    The message states the rule, what arrived and what to change, in the user's vocabulary.
    """


class Diverged(UserError):  # noqa: N818 - a state that a run ends in
    """Training that came to numbers which are not finite: no mistake, but the end of its run."""


def nearest(name: str, known: Collection[str]) -> str:
    """The question "Did you mean ..?", where something known is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}? " if close else ""
