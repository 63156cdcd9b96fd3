"""Require identical test episodes, on which differences are paired."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from metaloop.errors import UserError
from metaloop.run.comparison.episodes import Episodes
from metaloop.run.comparison.evaluated_run import EvaluatedRun

Columns = Mapping[str, Sequence[str]]
MOST = 4  # differences named in a message


def require_same_episodes(evaluated: Sequence[EvaluatedRun], episodes: Sequence[Episodes]) -> None:
    """Refuse evaluations whose test episodes differ in more than their seed.

    Raises:
        UserError: if there are any; it names the first two and their differences.

    """
    first_of: dict[int, tuple[EvaluatedRun, Episodes]] = {}
    for one, own in zip(evaluated, episodes, strict=True):
        keys = differing_keys(evaluated[0], one)
        _refuse(
            evaluated[0], one, [f"{k} ({a} and {b})" for k, (a, b) in keys.items() if k != "seed"]
        )
        first, others = first_of.setdefault(one.episode_seed, (one, own))
        _refuse(first, one, list(_differing_columns(others.identity, own.identity)))


def differing_keys(a: EvaluatedRun, b: EvaluatedRun) -> dict[str, tuple[object, object]]:
    """Return the keys by which the test episodes of two evaluations differ, with both values."""
    one, other = a.episode_keys(), b.episode_keys()
    both = {key: (one.get(key), other.get(key)) for key in dict.fromkeys((*one, *other))}
    # an evaluation without a folder has downloaded its data, or its path was removed
    return {
        key: values
        for key, values in both.items()
        if values[0] != values[1] and not (key.endswith("data_dir") and None in values)
    }


def _differing_columns(a: Columns, b: Columns) -> Iterator[str]:
    """Name the columns that differ between both, each with the first differing row."""
    for name in (name for name in a if name in b and a[name] != b[name]):
        cells = itertools.zip_longest(a[name], b[name])
        row = next(i for i, (one, other) in enumerate(cells) if one != other)
        yield f"the column {name} of episodes.csv (first of episode {row})"


def _refuse(first: EvaluatedRun, other: EvaluatedRun, differing: Sequence[str]) -> None:
    if differing:
        raise UserError(
            "Differences are paired on the same test episodes, and those of "
            f"{first.folder.path} and {other.folder.path} differ in {', '.join(differing[:MOST])}"
            f"{' ..' * (len(differing) > MOST)}. Name evaluations on the same episodes "
            "(--evaluation), or add --evaluate, which tests all runs on those of the first."
        )
