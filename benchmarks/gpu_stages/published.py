"""The stages `omniglot` and `faithful`: rows of published tables, trained and tested in full."""

import json
import re
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gpu_stages.commands import meta_step, run, warnings_in
from gpu_stages.record import Outcome, Record, Setting, Values, failed, passed, skipped
from gpu_stages.ways import NOT_AS_ASKED

GOAL = 180.0  # seconds for Omniglot 5-way 1-shot, from the command to the results


class Row(NamedTuple):
    """A preset; `tested` changes its config to that of the published test."""

    experiment: str
    tested: tuple[str, ...] = ()


FIRST = Row("finn2017/omniglot_5way_1shot")
# the fastest first
FURTHER = {
    "first-order MAML, 5-way 1-shot": Row("finn2017/first_order_omniglot_5way_1shot"),
    "Meta-SGD, 5-way 1-shot": Row("li2017/omniglot_5way_1shot"),
    "MAML, 20-way 1-shot": Row("finn2017/omniglot_20way_1shot"),
    "Reptile, 5-way 1-shot": Row(
        "nichol2018/omniglot_5way_1shot",
        ("task.shots=1", "task.rotations=false", "algorithm.batch_size=5"),
    ),
    "MAML++, 5-way 1-shot": Row("antoniou2019/omniglot_5way_1shot", ("task.rotations=false",)),
}
TINY = (
    "model.filters=4",
    "training.max_steps=2",
    "training.validate_every=1",
    "data.validation_episodes=4",
)


def omniglot(setting: Setting, record: Record) -> None:
    """Omniglot 5-way 1-shot: the paper's full schedule and its test, under three minutes."""
    record.item("MAML, 5-way 1-shot", lambda: train_and_test(FIRST, setting, record, goal=GOAL))


def faithful(setting: Setting, record: Record) -> None:
    """Further rows of Omniglot in full: as many as the time allows."""
    for name, row in FURTHER.items():
        record.item(name, partial(train_and_test, row, setting, record))


def train_and_test(
    row: Row, setting: Setting, record: Record, goal: float | None = None
) -> Outcome:
    """Train a preset with metaloop-train and test it; compare its value with the published one."""
    if setting.data_dir is None or not setting.data_dir.is_dir():
        return skipped("Omniglot's archives are missing; name their folder by --data-dir")
    values: Values
    start = time.perf_counter()
    runs = setting.folder / row.experiment.replace("/", "_")
    log = runs.with_suffix(".log")
    trained_by = arguments(row, setting, runs)
    seconds = record.seconds_left()
    if not run("train", *trained_by, log=log, runs=runs, seconds=seconds):
        values = {"metaloop-train": said(trained_by), "warnings": warnings_in(log)}
        reason = f"stopped after {seconds:.0f} s at meta-step {meta_step(runs)}"
        return Outcome("waiting", values, reason)
    (folder,) = (path.parent for path in runs.glob("*/config.yaml"))
    trained = time.perf_counter() - start
    if row.tested:
        tested = [f"run={folder}", "name=published", *row.tested]
        tested += ["evaluation.episodes=4"] if setting.tiny else []
        run("evaluate", *tested, log=log, runs=runs)
    results = json.loads(results_of(folder, row).read_text())
    values = {"seconds to the results": round(trained, 1)}
    if goal is not None:
        values[f"under {goal:.0f} s"] = trained < goal
    values |= beside_published(results)
    values |= {"metaloop-train": said(trained_by), "metaloop-evaluate": list(row.tested)}
    values["warnings"] = warnings_in(log)
    if not values["beside the published"]:
        return failed("the evaluation is not that of a published value", values)
    reasons = [] if setting.tiny else below(values)  # a rehearsal is worse
    if setting.device == "cuda":
        reasons += missed(values, trained, goal)
    return failed("; ".join(reasons), values) if reasons else passed(values)


def arguments(row: Row, setting: Setting, runs: Path) -> list[str]:
    """What metaloop-train is given: the preset, and where and how it computes."""
    is_cuda = setting.device == "cuda"
    return [
        f"experiment={row.experiment}",
        f"task.data_dir={setting.data_dir}",
        f"device={'gpu' if is_cuda else 'cpu'}",
        f"device.compile={str(is_cuda).lower()}",
        "logger=csv",
        "callbacks.pictures=null",
        f"output_dir={runs}",
        *(("evaluation.episodes=4", *TINY) if setting.tiny else ()),
    ]


def said(trained_by: list[str]) -> list[str]:
    """The arguments that a reader of the record can use: without this machine's folders."""
    return [a for a in trained_by if not a.startswith(("task.data_dir=", "output_dir="))]


def results_of(folder: Path, row: Row) -> Path:
    """The evaluation that the published value is compared with."""
    return folder / "evaluations" / ("published" if row.tested else "test") / "results.json"


def beside_published(results: dict[str, Any]) -> Values:
    """Ours and the published values of an evaluation, and whether their intervals meet."""
    rows = []
    for row in results["published"]:
        difference = row["ours"]["mean"] - row["mean"]
        widths = row["ours"]["ci95"] + row.get("ci95", 0.0)
        of_row = {name: row[name] for name in ("metric", "inner_step", "ours", "source")}
        of_row |= {"published": {"mean": row["mean"], "ci95": row.get("ci95")}}
        rows.append(of_row | {"difference": difference, "agrees": difference >= -widths})
    return {
        "beside the published": rows,
        "protocol": results["protocol"],
    }


def below(values: Values) -> list[str]:
    """What is worse than its published value."""
    worse = [
        f"{row['metric']} {row['difference']:+.4f}"
        for row in values["beside the published"]
        if not row["agrees"]
    ]
    return [f"below the published value: {', '.join(worse)}"] if worse else []


def missed(values: Values, seconds: float, goal: float | None) -> list[str]:
    """What was not computed as it should have been, or took too long."""
    said = [warning for warning in values["warnings"] if re.search(NOT_AS_ASKED, warning)]
    if goal is not None and seconds >= goal:
        said.append(f"it took {seconds:.0f} s, not under {goal:.0f}")
    return said
