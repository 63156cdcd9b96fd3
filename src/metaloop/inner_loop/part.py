"""Which of the model's parameters the inner loop adapts."""

import re
from collections.abc import Collection

from metaloop.errors import UserError

Part = str  # everything | head | body | match:REGEX


def adapting(part: Part, names: Collection[str]) -> tuple[str, ...]:
    """The names of the parameters that adapt.

    `everything` (MAML); `head` or `body`, those of the model's attribute `head` or all others
    (ANIL, BOIL); `match:REGEX`, those whose name the expression finds.

    Raises:
        UserError: none adapts, or the part is unknown.

    """
    if part == "everything":
        return tuple(names)
    if part.startswith("match:"):
        chosen = tuple(n for n in names if re.search(part.removeprefix("match:"), n))
        remedy = "Change the expression."
    elif part in ("head", "body"):
        heads = tuple(n for n in names if n.startswith("head."))
        chosen = heads if part == "head" else tuple(n for n in names if n not in heads)
        chosen = chosen if heads else ()
        remedy = "Call the model's last layer `head`, or choose by name with match:REGEX."
    else:
        raise UserError(
            f"part={part} is unknown. Choices: everything, head, body, match:REGEX (a pattern of "
            "parameter names)."
        )
    if not chosen:
        raise UserError(
            f"part={part} finds none of the model's parameters ({', '.join(list(names)[:6])} ..). "
            f"{remedy}"
        )
    return chosen
