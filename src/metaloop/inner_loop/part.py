"""Which of the model's parameters the inner loop adapts."""

import re
from collections.abc import Collection, Sequence

from metaloop.errors import UserError

Part = str  # everything | head | body | context | match:REGEX


def adapting(part: Part, names: Collection[str]) -> tuple[str, ...]:
    """The names of the parameters that adapt, out of those that are learned and may.

    `everything` (MAML); `head` or `body`, those of the model's attribute `head` or all others
    (ANIL, BOIL); `context`, the model's own context parameters (CAVIA); `match:REGEX`, those
    whose name the expression finds.

    Raises:
        UserError: none adapts, or the part is unknown.

    """
    if not names:
        raise UserError(
            "An algorithm adapts a model's parameters, and this model has none that is learned "
            "(requires_grad=True) and may adapt (norm_adapts). Give it one, or unfreeze one."
        )
    chosen = tuple(n for n in names if _is_in(part, n))
    if part == "body" and len(chosen) == len(names):
        raise UserError(
            "part=body is all but the model's `head`, and no parameter that is learned is in one. "
            "Call the model's last layer `head`; if it is frozen, take part=everything, which is "
            "then the body."
        )
    if not chosen:
        raise UserError(
            f"part={part} finds none of the model's parameters that are learned "
            f"({', '.join(list(names)[:6])} ..). {_remedy(part)}"
        )
    return chosen


def refuse_to_split(part: Part, shared: Collection[Sequence[str]]) -> None:
    """Refuse a part that holds some of a shared parameter's names, but not all.

    Such a parameter would adapt in places outside the part, or not at all.
    """
    for names in shared:
        inside = [name for name in names if _is_in(part, name)]
        if inside and len(inside) < len(names):
            raise UserError(
                f"part={part} would split one parameter that the model uses as "
                f"{' and '.join(names)}: it adapts in all its places or in none, and only "
                f"{' and '.join(inside)} is of that part. Give each place a parameter of its own, "
                "or choose the part by match:REGEX with all of these names or none."
            )


def _is_in(part: Part, name: str) -> bool:
    if part.startswith("match:"):
        return re.search(part.removeprefix("match:"), name) is not None
    if part in ("head", "body"):
        return name.startswith("head.") is (part == "head")
    if part == "context":
        return name.split(".")[-1] == "context"
    if part != "everything":
        raise UserError(
            f"part={part} is unknown. Choices: everything, head, body, context, match:REGEX (a "
            "pattern of parameter names)."
        )
    return True


def _remedy(part: Part) -> str:
    if part.startswith("match:"):
        return "Change the expression, or unfreeze what it should find."
    if part == "context":
        return (
            "Set model.context_size (mlp and conv4 have it), or give your model a parameter "
            "`self.context = nn.Parameter(torch.zeros(SIZE))` that its forward reads."
        )
    return (
        "Call the model's last layer `head`, leave head and body not all frozen, or choose by "
        "name with match:REGEX."
    )
