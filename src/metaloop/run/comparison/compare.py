"""Compare learners pair by pair."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_table
from metaloop.run.comparison.episodes import finite_values, read_episodes
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.run.comparison.learners import Member, group_by_learner
from metaloop.run.comparison.paired import PairedDifference, correct_by_holm, paired_difference
from metaloop.run.comparison.pairs import Pairs, find_unpaired, pair_up
from metaloop.run.comparison.same_episodes import require_same_episodes
from metaloop.run.config.title import title_of

ALPHA = 0.05
HEADER = "a,b,over,pairs,a_mean,b_mean,difference,ci95,cohens_d,p,p_holm,better"


class Row(NamedTuple):
    """Two learners compared, over episodes or over seeds.

    Attributes:
        means: means of a and b.
        p: p of the paired t-test, corrected for all rows over episodes, or over seeds.
        better: A (a) or B (b); None if there may be no difference.

    """

    a: str
    b: str
    over: str
    means: tuple[float, float]
    difference: PairedDifference
    p: float
    better: str | None


class Comparison(NamedTuple):
    """All rows, the metric they compare, and runs left out since no other learner has their seed.

    Attributes:
        learners: the algorithms and tasks of the runs.
        mode: the better direction, min or max; None if the metric does not define it.
        interval: kind of the interval over episodes, closed or open.

    """

    learners: str
    metric: str
    mode: str | None
    inner_steps: Sequence[int]
    interval: str
    rows: Sequence[Row]
    left_out: Sequence[Path]


def compare(
    evaluated: Sequence[EvaluatedRun],
    metric: str | None = None,
    inner_step: int | None = None,
    *,
    against_first: bool = False,
) -> Comparison:
    """Compare every learner with every other, or only with the first.

    Args:
        evaluated: the evaluations; runs that differ only in their seed are one learner.
        metric: None for accuracy if all have it, else query_loss.
        inner_step: inner step of the values; None for the last of each.
        against_first: compare only with the learner of the first evaluation.

    Raises:
        UserError: if test episodes differ, a value is missing, or there is only one learner.

    """
    episodes = [read_episodes(one) for one in evaluated]
    require_same_episodes(evaluated, episodes)
    known = set.intersection(*(set(e.metrics) for e in episodes))
    metric = metric or ("accuracy" if "accuracy" in known else "query_loss")
    if metric not in known:
        raise UserError(f"Not all runs have {metric}. All have: {', '.join(sorted(known))}.")
    steps = [e.last_step(metric) if inner_step is None else inner_step for e in episodes]
    values = map(finite_values, evaluated, episodes, itertools.repeat(metric), steps)
    learners = group_by_learner(map(Member, evaluated, values))
    if len(learners) < 2:
        raise UserError(
            "All these runs are one learner, since they differ only in their seed. Name runs of "
            "another one too; metaloop-sweep shows means over seeds."
        )
    with_first = [(learner, learners[0]) for learner in learners[1:]]
    chosen = with_first if against_first else list(itertools.combinations(learners, 2))
    found = [pairs for a, b in chosen for pairs in pair_up(a, b)]
    mode = evaluated[0].run.read_best_modes().get(metric.partition("@")[0])
    rows = [r for over in ("seeds", "episodes") for r in _rows(found, over, mode)]
    left_out = dict.fromkeys(path for a, b in chosen for path in find_unpaired(a, b))
    return Comparison(
        title_of(*(one.trained for one in evaluated)),
        metric,
        mode,
        sorted({*steps}),
        evaluated[0].interval,
        rows,
        list(left_out),
    )


def write_csv(comparison: Comparison, path: Path) -> None:
    """Write a row per comparison."""
    what = [comparison.metric, " ".join(map(str, comparison.inner_steps))]
    rows: list[list[object]] = [["metric", "inner_step", *HEADER.split(",")]]
    for row in comparison.rows:
        found = row.difference
        names = [row.a, row.b, row.over, found.pairs, *row.means]
        judged = [found.mean, found.half_width, found.effect_size, found.p, row.p, row.better]
        rows.append([*what, *names, *judged])
    write_table(path, rows)


def _rows(found: Sequence[Pairs], over: str, mode: str | None) -> list[Row]:
    """Judge all pairs over episodes, or over seeds, as one family of comparisons."""
    family = [pairs for pairs in found if pairs.over == over]
    differences = [paired_difference(*pairs.values) for pairs in family]
    corrected = correct_by_holm([difference.p for difference in differences])
    rows = []
    for pairs, difference, p in zip(family, differences, corrected, strict=True):
        first, other = pairs.values
        is_better = {"max": difference.mean > 0, "min": difference.mean < 0}.get(mode or "")
        better = None if is_better is None or p >= ALPHA else "BA"[is_better]
        means = float(first.mean()), float(other.mean())
        rows.append(Row(pairs.a.name, pairs.b.name, over, means, difference, p, better))
    return rows
