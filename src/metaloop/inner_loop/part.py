"""The part of the model that the inner loop adapts."""

import re
from collections.abc import Collection, Sequence

from metaloop.errors import UserError

Part = str  # everything | head | body | context | match:REGEX


def select_part(part: Part, names: Collection[str]) -> tuple[str, ...]:
    """Select the parameters that adapt from the names of those that may.

    `everything` (MAML); `head` or `body`: the parameters in the model's attribute `head`, or all
    others (ANIL, BOIL); `context`: the model's context parameters (CAVIA); `match:REGEX`: those
    whose name matches the expression.

    Raises:
        UserError: if no parameter adapts, or the part is unknown.

    """
    if not names:
        raise UserError(
            "An algorithm adapts a model's parameters, but this model has none that is learned "
            "(requires_grad=True) and may adapt (norm_adapts). Add one, or unfreeze one."
        )
    chosen = tuple(n for n in names if _is_in(part, n))
    if part == "body" and len(chosen) == len(names):
        raise UserError(
            "part=body means everything except the model's `head`, but no learned parameter is in "
            "a `head`. Name the model's last layer `head`; if it is frozen, use part=everything, "
            "which is then the body."
        )
    if not chosen:
        raise UserError(
            f"part={part} matches none of the model's learned parameters "
            f"({', '.join(list(names)[:6])} ..). {_remedy(part)}"
        )
    return chosen


def refuse_to_split(part: Part, shared: Collection[Sequence[str]]) -> None:
    """Refuse a part that contains some of a shared parameter's names, but not all.

    Such a parameter would adapt outside the part, or not at all.
    """
    for names in shared:
        inside = [name for name in names if _is_in(part, name)]
        if inside and len(inside) < len(names):
            raise UserError(
                f"part={part} would split one parameter that the model uses as "
                f"{' and '.join(names)}: it must adapt everywhere or nowhere, but the part "
                f"contains only {' and '.join(inside)}. Use separate parameters, or choose "
                "the part by match:REGEX with all of these names or none."
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
            "pattern for parameter names)."
        )
    return True


def _remedy(part: Part) -> str:
    if part.startswith("match:"):
        return "Change the expression, or unfreeze the parameters that it should match."
    if part == "context":
        return (
            "Set model.context_size (for mlp and conv4), or give your model a parameter "
            "`self.context = nn.Parameter(torch.zeros(SIZE))` that its forward uses; if frozen, "
            "unfreeze it."
        )
    return (
        "Name the model's last layer `head`, do not freeze all of head or body, or choose by "
        "name with match:REGEX."
    )
