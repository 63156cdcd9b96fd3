"""Adapt a run's learner to a user's examples, and write the results into one folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from metaloop.adapted import Adapted, Array, adapt_to
from metaloop.adapted.description import in_words
from metaloop.episode import Episode, Examples, the_tensor
from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json, write_text
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.figures import Draw, save_figures
from metaloop.plots import draw_adaptation_curve, draw_predictions, find_fit
from metaloop.run.adaptation.adaptation_curve import (
    MADE,
    describe_judge,
    judge,
    print_adaptation,
    summarize_curve,
)
from metaloop.run.adaptation.predictions import write_predictions
from metaloop.run.checkpoints.weights import find_weights, load_learner
from metaloop.run.config.build import Pieces
from metaloop.run.config.environment import versions
from metaloop.run.config.settings import Adaptation
from metaloop.run.config.title import title_of_run
from metaloop.run.evaluation.results import Results
from metaloop.tasks import Task
from metaloop.tasks.readers.given import Given
from metaloop.training.estimate import estimate


def adapt(pieces: Pieces, run: RunFolder, folder: Path, overrides: Sequence[str]) -> Results:
    """Adapt and predict by the config's section `adapt`; write and print the results."""
    _clear(folder)
    config, wanted = pieces.config, pieces.config.adapt
    assert wanted is not None, "the config of an adaptation has a section adapt"
    checkpoint = find_weights(run, wanted.checkpoint)
    step = load_learner(pieces.meta_learner, checkpoint)
    pieces.meta_learner.to(config.device.torch_device()).eval()

    support, labels, query = _read(pieces.task, wanted)
    adapted = adapt_to(
        pieces.algorithm.at(step),
        pieces.meta_learner.meta,
        pieces.task,
        support.inputs,
        labels,
        steps=wanted.steps,
        head=wanted.head,
        seed=config.seed,
        run=run.path.resolve().name,
    )
    judged = judge(adapted, query)
    for ending in ("pt", "safetensors"):
        adapted.save(folder / f"adapted.{ending}")
    for format_ in wanted.export:
        adapted.export(folder / f"adapted.{format_}")
    if wanted.export:
        write_text(folder / "adapted.txt", in_words(adapted.describe()))
    if query is not None:
        write_predictions(folder / "predictions.csv", adapted, query)
    skipped = [*support.skipped, *(query.skipped if query else ())]
    results = {
        **summarize_curve(judged),
        "protocol": _protocol(pieces, adapted, wanted, support, run.path.resolve().name),
        "checkpoint": checkpoint.name,
        "meta_step": step,
        "skipped": skipped,
        "overrides": list(overrides),
        "versions": versions(),
    }
    write_json(folder / "results.json", results)
    curves = {name: estimate(values) for name, values in judged.report.items()}
    title = f"{title_of_run(config.content, run)}, adapted to {support.place.name}"
    drawings = _pictures(adapted, support, query, title)
    drawings["adaptation_curve"] = lambda: draw_adaptation_curve(
        curves, f"{title}\n{describe_judge(judged)}"
    )
    save_figures(drawings, folder)
    print_adaptation(judged, skipped, folder)
    return results


def _clear(folder: Path) -> None:
    """Remove the files of an earlier adaptation of this name; this one may not replace them all."""
    for name in (*MADE, "results.json"):
        (folder / name).unlink(missing_ok=True)


def _read(task: Task, wanted: Adaptation) -> tuple[Given, Sequence[str] | Array, Given | None]:
    """Read the support set, its labels, and the query if there is one."""
    skip_unusable = wanted.skip_unusable
    support = task.read_examples(Path(wanted.support), skip_unusable=skip_unusable)
    labels = _labels_of(support)
    if wanted.query is None:
        return support, labels, None
    query = task.read_examples(Path(wanted.query), skip_unusable=skip_unusable, like=support)
    _check_classes(support, query)
    return support, labels, query


def _labels_of(support: Given) -> Sequence[str] | Array:
    """Return the support set's labels, which are required."""
    if support.labels is None:
        raise UserError(
            f"support={support.place} has no labels to adapt to. Make a folder for each class in "
            f"it, or give a table the column {', '.join(support.targets) or 'label'}."
        )
    return support.labels


def _check_classes(support: Given, query: Given) -> None:
    """Refuse a query class without support examples; name the first example of it."""
    if query.labels is None or isinstance(query.labels, np.ndarray):
        return
    assert support.labels is not None
    known = set(map(str, support.labels))
    for name, label in zip(query.names, query.labels, strict=True):
        if label not in known:
            raise UserError(
                f"{query.place}: {name} has class '{label}', but {support.place} has no example "
                f"of it (it has {', '.join(sorted(known)[:6])}). Add support examples of it, or "
                "remove it from the query."
            )


def _pictures(adapted: Adapted, given: Given, query: Given | None, title: str) -> dict[str, Draw]:
    """The fit of a regression, on the query's points if they are labelled; or answers to images."""
    support = adapted.support
    task = Episode(support, support.map(lambda part: part[:0]), support.targets[:0])
    if adapted.classes_ is None and query is not None and query.labels is not None:
        points = Examples(adapted.to_inputs(query.inputs), adapted.to_targets(query.labels))
        task = task._replace(query=points)
    axes = ("".join(given.features) or "x", "".join(given.targets) or "y")
    if (draw := find_fit(task, axes=axes)) is not None:
        return {"fit": lambda: draw(adapted.algorithm, list(adapted.path()), task, title)}
    if query is None or query.inputs.ndim != 4 or adapted.classes_ is None:
        return {}
    return {"predictions": lambda: _draw_answers(adapted, query, title)}


def _draw_answers(adapted: Adapted, query: Given, title: str) -> Figure:
    assert adapted.classes_ is not None
    probabilities = torch.from_numpy(adapted.predict_proba(query.inputs))
    images = the_tensor(adapted.to_inputs(query.inputs)).float().cpu()
    labels = None if query.labels is None else [str(label) for label in query.labels]
    classes = [str(label) for label in adapted.classes_]
    return draw_predictions(images, probabilities, classes, labels, query.names, title)


def _protocol(
    pieces: Pieces, adapted: Adapted, wanted: Adaptation, support: Given, run: str
) -> dict[str, object]:
    counts: dict[str, int] | int = len(support.names)
    if adapted.classes_ is not None:
        shots = adapted.support.targets.bincount().tolist()
        counts = dict(zip(map(str, adapted.classes_), shots, strict=True))
    return {
        "run": run,
        "trained_on": type(pieces.task).__name__,
        "support": wanted.support,
        "query": wanted.query,
        "examples": counts,
        **adapted.algorithm.describe(),
        "steps": adapted.steps,
        "head": wanted.head or "as trained",
        "seed": pieces.config.seed,
    }
