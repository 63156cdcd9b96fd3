"""Docstrings of plain text as the markup that Sphinx reads."""

import re

# those that napoleon knows
SECTIONS = ("Args:", "Attributes:", "Returns:", "Raises:", "Examples:")


def to_rst(
    app: object, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    """Change the lines in place, as Sphinx has it."""
    lines[:] = mark_up(lines)


def mark_up(lines: list[str]) -> list[str]:
    """Make equations and shapes literal blocks, and keep |x| and [*X] from being markup.

    A literal block is an indented one that belongs to neither a list nor a section. Examples are
    code already.
    """
    made: list[str] = []
    opener, is_literal = "", False  # the last line at the margin
    for line in lines:
        is_indented = line.startswith("    ")
        if line.strip() and not is_indented:
            if is_literal:
                made.append("")
            opener, is_literal = line, False
        elif is_indented and not is_literal and not opener.startswith(("- ", *SECTIONS)):
            made += ["", "::", ""]
            is_literal = True
        is_code = is_literal or (is_indented and opener == "Examples:")
        made.append(line if is_code else _escape(line))
    return made


def _escape(line: str) -> str:
    """Escape what reStructuredText would read as markup, outside of code; "K." begins no list."""
    line = re.sub(r"(\w: )(\w\.$|\w\. )", r"\1\\\2", line)
    parts = line.split("`")
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
