"""Columns that identify evaluated episodes in a table: their shapes, classes and examples."""

import torch

from metaloop.tasks import RandomStreams
from metaloop.training.datamodule import EvaluationEpisodes

Columns = dict[str, list[object]]


def episode_columns(episodes: EvaluationEpisodes) -> Columns:
    """Return the columns of episodes.csv before the values, with an entry per episode.

    They are the shapes, if these vary; `classes` as global ids; `support` and `query` as numbers of
    examples in the data set, class by class. Entries that an episode lacks are empty.
    """
    indices = torch.cat(episodes.batches).sort().values
    told = episodes.task.shapes.columns(RandomStreams(episodes.seed, episodes.split, indices))
    if episodes.task.is_fresh:
        return told
    for batch in map(episodes.__getitem__, range(len(episodes))):
        for numbers, drawn in batch.groups:
            for name, values in episodes.task.origins(drawn).items():
                column = told.setdefault(name, [""] * len(indices))
                for number, row in zip(numbers.tolist(), values.tolist(), strict=True):
                    column[number] = " ".join(map(str, row))
    return told
