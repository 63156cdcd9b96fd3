"""Values published in papers, and the protocol under which each was measured."""

from collections.abc import Mapping
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on


class Published(TypedDict):
    """A published value of a metric after an inner step.

    Attributes:
        ci95: half-width of its 95 % interval.
        where: conditions in addition to the config's `published_where`: keys and their values.
        note: possible errors of the value.
        ran_whole: the preset's whole schedule is on the board.

    """

    metric: str
    inner_step: int
    mean: float
    ci95: NotRequired[float | None]
    source: str
    where: NotRequired[dict[str, object]]
    note: NotRequired[str]
    ran_whole: NotRequired[bool]


def unmet_conditions(published: Published, config: Mapping[str, object]) -> dict[str, object]:
    """Return the conditions of a published value that a config does not meet: key and value.

    They are the value's own `where` and the config's `published_where`, which its published values
    have in common.
    """
    common = config.get("published_where", {})
    assert isinstance(common, Mapping)
    where = {**common, **published.get("where", {})}
    return {key: wanted for key, wanted in where.items() if _look_up(config, key) != wanted}


def _look_up(config: Mapping[str, object], dotted_key: str) -> object:
    value: object = config
    for part in dotted_key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
