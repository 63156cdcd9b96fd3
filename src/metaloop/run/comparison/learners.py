"""Group runs into learners: runs that differ only in their seed are one learner."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.comparison.episodes import Values
from metaloop.run.comparison.evaluated_run import JUDGEMENT, Config, EvaluatedRun
from metaloop.run.config.identity import is_elsewhere
from metaloop.run.config.keys import leaves
from metaloop.run.config.read import load_config
from metaloop.run.sweeps.sweep_table import SEED, find_varied, overrides_by_key, short_name


class Member(NamedTuple):
    """One run of a learner, and the values of its test episodes."""

    evaluated: EvaluatedRun
    values: Values


class Learner(NamedTuple):
    """A learner with a name that distinguishes it from the others, trained with some seeds."""

    name: str
    members: Sequence[Member]


def group_by_learner(members: Iterable[Member]) -> list[Learner]:
    """Group runs that differ only in their seed, in the given order.

    Raises:
        UserError: if two runs do not even differ in that.

    """
    groups: dict[str, dict[tuple[int, int], Member]] = {}
    for member in members:
        evaluated = member.evaluated
        group = groups.setdefault(_config_but_seed(evaluated), {})
        one = group.setdefault((evaluated.seed, evaluated.episode_seed), member)
        if one is not member:
            raise UserError(
                f"{one.evaluated.folder.path} and {evaluated.folder.path} have the same config "
                "and seed, up to the seed of a run that they start from, so there is nothing to "
                "compare. Name one of them."
            )
    firsts = [next(iter(group.values())).evaluated for group in groups.values()]
    names = [short_name(varied) for varied in find_varied(list(map(_overrides, firsts)))]
    return [
        Learner(name if names.count(name) == 1 else _with_folder(name, first), [*group.values()])
        for name, first, group in zip(names, firsts, groups.values(), strict=True)
    ]


def _config_but_seed(evaluated: EvaluatedRun) -> str:
    of_both = (evaluated.trained, _is_of_training), (evaluated.config, _is_of_judging)
    return json.dumps([_kept(*one) for one in of_both], sort_keys=True)


def _kept(config: Config, is_kept: Callable[[str], bool]) -> dict[str, object]:
    """Return the chosen keys; in place of a run to start from, its config without its seed."""
    kept = {k: v for k, v in leaves(config) if is_kept(k)}
    start = kept.get("init_from")
    if isinstance(start, str) and (folder := RunFolder(start)).config.is_file():
        kept["init_from"] = _kept(load_config(folder), _is_of_training)
    return kept


def _overrides(evaluated: EvaluatedRun) -> Mapping[str, str]:
    """Return the user's overrides that distinguish learners."""
    trained, judged = overrides_by_key(evaluated.run), overrides_by_key(evaluated.folder)
    return {k: v for k, v in trained.items() if _is_of_training(k)} | {
        k: v for k, v in judged.items() if _is_of_judging(k)
    }


def _is_of_training(key: str) -> bool:
    return _distinguishes(key) and not key.startswith("evaluation.")


def _is_of_judging(key: str) -> bool:
    """Check whether a key of an evaluation's config changes more than its test episodes."""
    is_of_episodes = key.split(".")[0] in ("task", "evaluation") and key not in JUDGEMENT
    return _distinguishes(key) and not is_of_episodes and key != "run"


def _distinguishes(key: str) -> bool:
    has_effect = key == "device.precision" or key.endswith("data_dir") or not is_elsewhere(key)
    return has_effect and key != SEED


def _with_folder(name: str, evaluated: EvaluatedRun) -> str:
    folder = evaluated.run.path.name
    return f"{name} ({folder})" if name else folder
