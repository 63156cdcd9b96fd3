"""Split an evaluation by the sources of its episodes."""

import pytorch_lightning as pl
import torch

from metaloop.inner_loop import Report
from metaloop.tasks import RandomStreams, Split, Task
from metaloop.tasks.mixed_shapes import SOURCE
from metaloop.training.datamodule import EpisodicDataModule
from metaloop.training.logged_values import Values, summarize


def split_by_source(task: Task, seed: int, split: Split, evaluated: Report) -> dict[str, Report]:
    """Split a report by source; empty if all episodes have the same.

    Shapes:
        evaluated[name] [episodes, K+1], for the first episodes of the split
    """
    number = torch.arange(len(next(iter(evaluated.values()))))
    told = task.shapes.columns(RandomStreams(seed, split, number)).get(SOURCE, [])
    rows = {name: torch.tensor([one == name for one in told]) for name in sorted(map(str, {*told}))}
    return {
        name: {n: values[chosen] for n, values in evaluated.items()}
        for name, chosen in rows.items()
    }


def summarize_sources(trainer: pl.Trainer, evaluated: Report) -> Values:
    """Summarise each source in a validation."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, EpisodicDataModule):
        return {}
    return summarize_each(split_by_source(data.task, data.seed, "validation", evaluated))


def summarize_each(sources: dict[str, Report]) -> Values:
    """Summarise each source: `<source>/<name>`."""
    return {
        f"{source}/{name}": value
        for source, evaluated in sources.items()
        for name, value in summarize(evaluated).items()
    }
