"""Names of the folders of evaluations and adaptations."""

import hashlib
import re
from collections.abc import Sequence

from metaloop.errors import UserError

UNFIT = r"[^\w.=,-]+"
LONGEST = 100  # characters


def check_name(name: str) -> str:
    """Check a folder's name chosen by the user."""
    if name != re.sub(UNFIT, "-", name) or name.startswith("."):
        raise UserError(f"name={name} names a folder: letters, digits and _ . = , - only.")
    return name


def make_name(parts: Sequence[str]) -> str:
    """Make a folder's name of what distinguishes it; a long one is cut and gets a hash."""
    name = re.sub(UNFIT, "-", "_".join(parts)).lstrip(".") or "unnamed"
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
