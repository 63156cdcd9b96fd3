"""Small networks with every kind of layer that takes adapters."""

import torch
from torch import nn

WIDTH = 8


class Encoder(nn.Module):
    """Two of torch's encoder layers over sequences, and a head on their mean."""

    def __init__(self, width=WIDTH):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.body(x).mean(1))


class Crossed(nn.Module):
    """Attention whose queries, keys and values have widths and matrices of their own."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, kdim=6, vdim=5, batch_first=True)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        keys, values = x[..., :6], x[..., :5]
        return self.head(self.attention(x, keys, values, need_weights=False)[0].mean(1))


class Convolved(nn.Module):
    """Convolutions over positions, with a stride, padding of other values, and groups."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(WIDTH, 6, 3, stride=2, padding=1, padding_mode="circular")
        self.second = nn.Conv2d(1, 4, (2, 3), dilation=(2, 1), bias=False)
        self.grouped = nn.Conv1d(6, 6, 1, groups=2)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.grouped(torch.tanh(self.first(x.mT)))
        return self.head(torch.tanh(self.second(hidden[:, None])).mean(-1).flatten(1)[:, :8])


class Stacked(nn.Module):
    """Linear layers; the first is called by the name of its argument, and on sequences."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(WIDTH, 5)
        self.second = nn.Linear(5, 6, bias=False)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(input=x)).mean(1))))


NETWORKS = (Encoder, Crossed, Convolved, Stacked)


def moved(network, scale=0.3):
    """In float64, with values in all of B: at its start an adapter changes nothing."""
    generator = torch.Generator().manual_seed(1)
    network = network.double()
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "lora_B" in name:
                p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return network
