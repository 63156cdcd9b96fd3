"""A task whose inputs are two tensors by name, and a network that takes them."""

import torch
from torch import nn

from metaloop.episode import Episode, Examples
from metaloop.tasks import ClassificationTask


class Mixed(ClassificationTask):
    """Three classes of numbers and words: the numbers lie about the class, the words differ."""

    input_shapes = {"words": (4,), "numbers": (2,)}  # noqa: RUF012

    def __init__(self, queries: int = 2):
        self.queries, self.output_size, self.classes = queries, 3, 3

    def draw(self, split, streams):
        rows = 2 + self.queries
        labels = torch.arange(3).repeat_interleave(rows).expand(streams.episodes, -1)
        numbers = streams.normal(3 * rows, 2) + streams.normal(3, 2).repeat_interleave(rows, 1)
        words = streams.integers(3 * rows, 4, high=7)
        is_seen = (torch.arange(3 * rows) % rows) < 2

        def part(which):
            inputs = {"words": words[:, which], "numbers": numbers[:, which]}
            return Examples(inputs, labels[:, which])

        return Episode(part(is_seen), part(~is_seen), torch.arange(3).expand(streams.episodes, -1))


class Reader(nn.Module):
    """Takes its inputs by name, in another order than the task's, one of them at will."""

    def __init__(self, output_size: int = 3, norm: bool = False):
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.body = nn.Linear(7, 6)
        self.norm = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.head = nn.Linear(6, output_size)

    def forward(self, numbers, words=None, scale=1.0):
        read = self.embedding(words).mean(-2)
        hidden = self.norm(self.body(torch.cat([scale * numbers, read], -1)))
        return self.head(torch.tanh(hidden))
