"""A network of the zoo: any body, flattened, and a linear head of three outputs."""

import torch
from torch import nn

from metaloop.episode import Episode, Examples
from tests.episodes import drawer

TASKS, ROWS, OUTPUTS, WORDS = 2, 4, 3, 10
SHAPES = {
    "vector": (8,),
    "signal": (4, 16),
    "image": (4, 8, 8),
    "volume": (2, 4, 6, 6),
    "sequence": (5, 8),
    "tokens": (6,),
}


class Does(nn.Module):
    """The rule says what the forward pass does with its layers, parameters and attributes."""

    def __init__(self, rule, **parts):
        super().__init__()
        self.rule = rule
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.rule(self, x)


class WithHead(nn.Module):
    """A layer before the body, so that all its derivatives matter, and a head behind it."""

    def __init__(self, make_body, kind):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.body = stem(kind), make_body()
        with torch.no_grad():
            features = make_body()(self.stem(inputs(kind)[0])).flatten(1).shape[1]
        self.head = nn.Linear(features, OUTPUTS)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).flatten(1))


def stem(kind):
    """A layer that keeps the shape."""
    channels = SHAPES[kind][0]
    layers = {
        "vector": lambda: nn.Linear(channels, channels),
        "signal": lambda: nn.Conv1d(channels, channels, 1),
        "image": lambda: nn.Conv2d(channels, channels, 1),
        "volume": lambda: nn.Conv3d(channels, channels, 1),
        "sequence": lambda: nn.Linear(SHAPES[kind][1], SHAPES[kind][1]),
        "tokens": nn.Identity,
    }
    return layers[kind]()


def inputs(kind, tasks=TASKS, rows=ROWS):
    """Fixed inputs [tasks, rows, *shape] in float32; tokens are whole."""
    generator = torch.Generator().manual_seed(1)
    shape = (tasks, rows, *SHAPES[kind])
    if kind == "tokens":
        return torch.randint(0, WORDS, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def episodes(kind) -> Episode:
    """Two tasks of three-dimensional targets."""
    x, draw = inputs(kind, rows=2 * ROWS), drawer(4)
    y = draw(TASKS, 2 * ROWS, OUTPUTS).float()
    support, query = (Examples(x[:, rows], y[:, rows]) for rows in (slice(ROWS), slice(ROWS, None)))
    return Episode(support, query, torch.zeros(TASKS, 0))
