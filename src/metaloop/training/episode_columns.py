"""What tells evaluated episodes apart in a table: their shapes, and what they were drawn from."""

import torch

from metaloop.tasks import RandomStreams
from metaloop.training.datamodule import EvaluationEpisodes

Columns = dict[str, list[object]]


def episode_columns(episodes: EvaluationEpisodes) -> Columns:
    """The columns of episodes.csv that come before the values, an entry an episode.

    Those of the shapes where they vary; `classes` by their global ids, `support` and `query` by
    the numbers of their examples in the data set, class by class. Empty where an episode lacks
    what others have.
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
