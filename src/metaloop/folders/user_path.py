"""Paths as users write them."""

import os
from pathlib import Path


def user_path(text: str | Path) -> Path:
    """Expand ~ to the user's home; pathlib would raise RuntimeError for an unknown ~name."""
    return Path(os.path.expanduser(text))  # noqa: PTH111
