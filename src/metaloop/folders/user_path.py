"""Paths as a user names them."""

import os
from pathlib import Path


def user_path(text: str | Path) -> Path:
    """A path whose ~ is the user's home; pathlib raises RuntimeError where ~name is nobody's."""
    return Path(os.path.expanduser(text))  # noqa: PTH111
