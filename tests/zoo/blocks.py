"""Blocks of vision networks."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from tests.zoo.network import Does


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(4 * n, 4, 3, padding=1) for n in (1, 2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 * n) for n in (1, 2))

    def forward(self, x):
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = torch.cat([x, layer(F.relu(norm(x), inplace=True))], 1)
        return x


def squeeze_and_excite(m, x):
    return x * torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3))))))[:, :, None, None]


def residual(m, x):
    return F.relu(x + m.second(F.relu(m.norm(m.first(x)))))


def u_net(m, x):
    low = F.relu(m.down(x))
    return m.up(torch.cat([F.interpolate(low, scale_factor=2), x], 1))


def separable(m, x):
    return m.point(F.hardswish(m.norm(m.depth(x))))


def patches(m, x):
    """A tiny vision transformer."""
    tokens = m.embed(x).flatten(2).mT
    tokens = torch.cat([m.first.expand(len(x), -1, -1), tokens], 1) + m.places
    return m.layer(tokens)[:, 0]


def mixer(m, x):
    x = x.flatten(2)
    x = x + m.over_places(F.layer_norm(x, (64,)))
    return x + m.over_channels(m.norm(x.mT)).mT


def conv_next(m, x):
    y = m.norm(m.depth(x).permute(0, 2, 3, 1))
    return x + (m.scale * m.down(F.gelu(m.up(y)))).permute(0, 3, 1, 2)


IMAGE = {
    "squeeze and excite": lambda: Does(
        squeeze_and_excite, down=nn.Linear(4, 2), up=nn.Linear(2, 4)
    ),
    "residual block": lambda: Does(
        residual,
        first=nn.Conv2d(4, 4, 3, padding=1),
        norm=nn.BatchNorm2d(4),
        second=nn.Conv2d(4, 4, 3, padding=1),
    ),
    "dense block": Dense,
    "U-Net": lambda: Does(u_net, down=nn.Conv2d(4, 6, 3, 2, 1), up=nn.Conv2d(10, 3, 3)),
    "separable block": lambda: Does(
        separable,
        depth=nn.Conv2d(4, 4, 3, groups=4),
        norm=nn.BatchNorm2d(4),
        point=nn.Conv2d(4, 6, 1),
    ),
    "vision transformer": lambda: Does(
        patches,
        embed=nn.Conv2d(4, 8, 4, 4),
        first=nn.Parameter(torch.ones(1, 1, 8)),
        places=nn.Parameter(torch.linspace(-1, 1, 40).view(1, 5, 8)),
        layer=nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True),
    ),
    "mixer": lambda: Does(
        mixer,
        over_places=nn.Sequential(nn.Linear(64, 16), nn.GELU(), nn.Linear(16, 64)),
        over_channels=nn.Linear(4, 4),
        norm=nn.LayerNorm(4),
    ),
    "ConvNeXt block": lambda: Does(
        conv_next,
        depth=nn.Conv2d(4, 4, 5, padding=2, groups=4),
        norm=nn.LayerNorm(4),
        up=nn.Linear(4, 8),
        down=nn.Linear(8, 4),
        scale=nn.Parameter(torch.full((4,), 0.1)),
    ),
    "frozen batch norm": lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4).eval()),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm(4),
    "weight norm of a convolution": lambda: parametrizations.weight_norm(nn.Conv2d(4, 5, 3)),
}
