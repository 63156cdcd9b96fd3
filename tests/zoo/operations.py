"""What users write between layers: linear algebra, indexing, sorting, transforms, randomness."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tests.zoo.network import Does


def symmetric(x):
    """Positive definite matrices [rows, 2, 2] of vectors [rows, 8]."""
    a = x.unflatten(1, (2, 4))
    return a @ a.mT + torch.eye(2).to(x)


def sorted_power(m, x):
    values, order = x.sort(1)
    return values * torch.gather(x.square(), 1, order)


def mixture_of_experts(m, x):
    share, chosen = m.gate(x).softmax(-1).topk(2)
    outputs = torch.stack([expert(x) for expert in m.experts], 1)
    picked = outputs.gather(1, chosen[..., None].expand(-1, -1, 8))
    return (share[..., None] * picked).sum(1)


def sparsemax(x):
    ordered, _ = x.sort(1, descending=True)
    ranks = torch.arange(1, x.shape[1] + 1).to(x)
    sums = ordered.cumsum(1) - 1
    support = (ranks * ordered > sums).sum(1, keepdim=True)
    return (x - sums.gather(1, support - 1) / support).clamp(min=0)


def sinkhorn(m, x):
    scores = m.weight.expand(len(x), 8, 8) * x[:, None]
    for _ in range(4):
        scores = scores - scores.logsumexp(1, keepdim=True)
        scores = scores - scores.logsumexp(2, keepdim=True)
    return scores.exp()


def spectral_gate(m, x):
    frequencies = torch.fft.rfft(x)
    return torch.fft.irfft(frequencies * torch.view_as_complex(m.filter), n=8)


def complex_layer(m, x):
    z = torch.complex(x[:, :4], x[:, 4:])
    return torch.view_as_real(z @ torch.view_as_complex(m.weight)).flatten(1).tanh()


def warped(m, x):
    turn = m.turn.expand(len(x), 2, 3)
    grid = F.affine_grid(turn, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def scattered(m, x):
    index = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1], device=x.device).expand_as(x)
    return torch.zeros(len(x), 3).to(x).scatter_add(1, index, x.square())


def deep_sets(m, x):
    return torch.cat([x.mean(0, keepdim=True).expand_as(x), x.amax(0).expand_as(x)], 1)


def graph(m, x):
    """A graph convolution whose edges are a softmax over distances."""
    nodes = x.unflatten(1, (4, 2))
    distance = (nodes[:, :, None] - nodes[:, None]).square().sum(-1)
    return torch.einsum("bij,bjd->bid", (-distance).softmax(-1), m.mix(nodes)).relu()


def euler(m, x):
    for _ in range(5):
        x = x + 0.2 * torch.tanh(m.field(x))
    return x


def hypernetwork(m, x):
    weight = m.maker(m.code).view(5, 8)
    return torch.tanh(F.linear(x, weight))


def reparametrised(m, x):
    mean, deviation = m.encode(x).chunk(2, 1)
    return mean + F.softplus(deviation) * torch.randn_like(mean)


def vmapped_inside(m, x):
    return torch.func.vmap(lambda row: torch.outer(row, row).tanh())(x)


def jacobian_inside(m, x):
    return torch.func.vmap(torch.func.jacrev(lambda row: torch.tanh(m.layer(row))))(x)


def kernel(m, x):
    return torch.exp(-torch.cdist(x, m.centres).square())


def solved(m, x):
    return torch.linalg.solve(symmetric(x), x.view(-1, 2, 4))


def written(m, x):
    y = torch.zeros_like(x)
    y[:, ::2] = x[:, 1::2].square()
    y[:, 1] += x[:, 3]
    return y


def appended(m, x):
    states = [x]
    for _ in range(3):
        states.append(torch.sin(states[-1]) + states[0])
    return torch.stack(states, 1)


def nested(m, x):
    parts = {"left": x[:, :4], "right": (x[:, 4:6], [x[:, 6:]])}
    return torch.cat([parts["left"].exp(), parts["right"][0], parts["right"][1][0]], 1)


def noisy(m, x):
    return x + 0.1 * torch.randn_like(x) * torch.bernoulli(torch.full_like(x, 0.5))


def masked_rows(m, x):
    return torch.where(x > 0, x.clamp(min=0.1).sqrt(), -(-x).clamp(min=0.1).log())


def linear_filter(m, x):
    return torch.conv1d(x[:, None], m.taps, padding=2)


def unfolded(m, x):
    return x.unfold(1, 4, 2).var(-1) + x.unfold(1, 4, 2).std(-1)


def weight(*shape):
    count = math.prod(shape)
    return nn.Parameter(torch.linspace(-1, 1, count).mul(7).sin().view(shape))


PAIRS = torch.combinations(torch.arange(8)).tolist()
RULES = {
    "square": lambda m, x: x.square(),
    "square root of squares": lambda m, x: (x.square() + 1e-2).sqrt(),
    "norm": lambda m, x: x / x.norm(dim=1, keepdim=True),
    "normalize": lambda m, x: F.normalize(x),
    "cosine similarity": lambda m, x: F.cosine_similarity(x[:, None], x[:, None].roll(1, -1), -1),
    "pairwise distance": lambda m, x: F.pairwise_distance(x[:, :4], x[:, 4:], keepdim=True),
    "softmax over rows": lambda m, x: x.softmax(0),
    "log-sum-exp": lambda m, x: x.logsumexp(1, keepdim=True),
    "maximum": lambda m, x: torch.maximum(x, x.flip(1)),
    "clamp": lambda m, x: x.clamp(-0.5, 0.7),
    "median": lambda m, x: x.median(1, keepdim=True).values,
    "quantile": lambda m, x: x.quantile(0.3, dim=1, keepdim=True),
    "sort and gather": sorted_power,
    "top k": lambda m, x: x.topk(3, 1).values,
    "cumulative sum": lambda m, x: x.cumsum(1),
    "cumulative product": lambda m, x: x.cumprod(1),
    "cumulative maximum": lambda m, x: x.cummax(1).values,
    "product": lambda m, x: x.prod(1, keepdim=True),
    "roll, flip and pad": lambda m, x: F.pad(x.roll(2, 1).flip(1), (1, 2)) ** 2,
    "index select": lambda m, x: x.index_select(
        1, torch.tensor([7, 0, 0, 3], device=x.device)
    ).exp(),
    "index add": lambda m, x: x.index_add(
        1, torch.tensor([1, 2], device=x.device), x[:, :2].square()
    ),
    "take along": lambda m, x: torch.take_along_dim(x.square(), x.argsort(1), 1),
    "repeat and tile": lambda m, x: x.repeat_interleave(2, 1) * x.tile(1, 2),
    "einsum": lambda m, x: torch.einsum("bi,ij,bj->bi", x, x.mT @ x, x),
    "outer": lambda m, x: x[:, :, None] * x[:, None],
    "triangle": lambda m, x: (x[:, :, None] @ x[:, None]).tril().sum(1),
    "inverse": lambda m, x: torch.linalg.inv(symmetric(x)),
    "solve": solved,
    "determinant": lambda m, x: torch.logdet(symmetric(x))[:, None],
    "Cholesky": lambda m, x: torch.linalg.cholesky(symmetric(x)),
    "eigenvalues": lambda m, x: torch.linalg.eigvalsh(symmetric(x)),
    "singular values": lambda m, x: torch.linalg.svdvals(symmetric(x)),
    "QR": lambda m, x: torch.linalg.qr(symmetric(x)).R,
    "matrix exponential": lambda m, x: torch.matrix_exp(0.1 * symmetric(x)),
    "pseudo-inverse": lambda m, x: torch.linalg.pinv(symmetric(x)),
    "Fourier transform": lambda m, x: torch.fft.rfft(x).abs(),
    "two Fourier transforms": lambda m, x: (
        torch.fft.ifft2(torch.fft.fft2(x.view(-1, 2, 4)).square()).real
    ),
    "angles": lambda m, x: torch.atan2(x[:, :4], x[:, 4:] + 3),
    "error function": lambda m, x: torch.erf(x) + torch.special.i0(x) + torch.sinc(x),
    "gamma": lambda m, x: torch.lgamma(x.square() + 1) + torch.digamma(x.square() + 1),
    "scatter": scattered,
    "written in place": written,
    "masked fill": lambda m, x: x.masked_fill(x > 0.5, 0.0).square(),
    "masked fill in place": lambda m, x: (x * 2).masked_fill_(x > 0.5, 1.0),
    "added in place": lambda m, x: torch.sin(x).add_(x).mul_(0.5),
    "states in a list": appended,
    "states in a dict": nested,
    "statistics of the set": deep_sets,
    "root and logarithm by sign": masked_rows,
    "sparsemax": lambda m, x: sparsemax(x),
    "unfolded windows": unfolded,
    "dropout by function": lambda m, x: F.dropout(x, 0.3, m.training),
    "feature dropout": lambda m, x: F.feature_alpha_dropout(x, 0.3, m.training),
    "noise": noisy,
    "Gumbel softmax": lambda m, x: F.gumbel_softmax(x, 0.7),
    "Gumbel softmax, hard": lambda m, x: F.gumbel_softmax(x, 0.7, hard=True),
    "vmap inside": vmapped_inside,
    "finite jumps": lambda m, x: x * (x > 0).to(x.dtype) + x.round().detach(),
    "layer norm by function": lambda m, x: F.layer_norm(x, (8,)),
    "home-made layer norm": lambda m, x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "home-made batch norm": lambda m, x: (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt(),
    "batch norm by function": lambda m, x: F.batch_norm(x, None, None, training=True),
    "local response by function": lambda m, x: F.local_response_norm(x[:, :, None], 3),
    "selected rows": lambda m, x: x[torch.arange(len(x), device=x.device).flip(0)] * x,
    "pairs": lambda m, x: torch.stack([x[:, i] * x[:, j] for i, j in PAIRS], 1),
    "meshgrid": lambda m, x: x * torch.stack(torch.meshgrid(x[0], x[1], indexing="ij")).sum(0)[0],
    "sine and cosine": lambda m, x: torch.cat(
        [f(2.0**k * x) for k in range(3) for f in (torch.sin, torch.cos)], 1
    ),
    "linear interpolation": lambda m, x: torch.lerp(x, x.flip(1), 0.3) + torch.addcmul(x, x, x),
    "renormalised rows": lambda m, x: torch.renorm(x, 2, 0, 1.0),
    "histogram of kernels": lambda m, x: (
        (-((x[..., None] - torch.linspace(-1, 1, 5).to(x)) ** 2)).exp().mean(1)
    ),
}
VECTOR = {name: (lambda rule=rule: Does(rule)) for name, rule in RULES.items()} | {
    "Sinkhorn": lambda: Does(sinkhorn, weight=weight(8, 8)),
    "mixture of experts": lambda: Does(
        mixture_of_experts,
        gate=nn.Linear(8, 4),
        experts=nn.ModuleList(nn.Linear(8, 8) for _ in range(4)),
    ),
    "spectral gate": lambda: Does(spectral_gate, filter=weight(5, 2)),
    "complex layer": lambda: Does(complex_layer, weight=weight(4, 3, 2)),
    "graph convolution": lambda: Does(graph, mix=nn.Linear(2, 5)),
    "Euler steps": lambda: Does(euler, field=nn.Linear(8, 8)),
    "hypernetwork": lambda: Does(hypernetwork, maker=nn.Linear(3, 40), code=weight(3)),
    "variational encoder": lambda: Does(reparametrised, encode=nn.Linear(8, 8)),
    "Jacobian inside": lambda: Does(jacobian_inside, layer=nn.Linear(8, 3)),
    "radial kernel": lambda: Does(kernel, centres=weight(5, 8)),
    "bilinear form": lambda: Does(lambda m, x: m.layer(x, x), layer=nn.Bilinear(8, 8, 4)),
    "filter": lambda: Does(linear_filter, taps=weight(2, 1, 5)),
    "root of a weight": lambda: Does(
        lambda m, x: x * m.scale.sqrt(), scale=nn.Parameter(torch.full((8,), 0.5))
    ),
    "logarithm of a weight": lambda: Does(
        lambda m, x: x * m.scale.log(), scale=nn.Parameter(torch.full((8,), 0.5))
    ),
    "covariance of a weight": lambda: Does(
        lambda m, x: x @ torch.linalg.cholesky(m.a @ m.a.T + torch.eye(8).to(x)), a=weight(8, 8)
    ),
    "maxout": lambda: Does(lambda m, x: m.layer(x).view(-1, 4, 3).amax(2), layer=nn.Linear(8, 12)),
    "gated": lambda: Does(
        lambda m, x: torch.tanh(m.a(x)) * torch.sigmoid(m.b(x)),
        a=nn.Linear(8, 5),
        b=nn.Linear(8, 5),
    ),
}
IMAGE = {
    "warped": lambda: Does(
        warped, turn=nn.Parameter(torch.tensor([[0.9, 0.1, 0.0], [0, 1.1, 0.2]]))
    ),
    "interpolated to areas": lambda: Does(lambda m, x: F.interpolate(x, 3, mode="area")),
    "interpolated, antialiased": lambda: Does(
        lambda m, x: F.interpolate(x, 5, mode="bilinear", antialias=True)
    ),
    "pooled by its own indices": lambda: Does(
        lambda m, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)
    ),
    "stripes": lambda: Does(lambda m, x: F.unfold(x, (1, 3)).mean(2)),
    "viewed": lambda: Does(lambda m, x: x.view(x.size(0), -1).tanh()),
    "transposed": lambda: Does(
        lambda m, x: x.permute(0, 2, 3, 1).contiguous().view(-1, 64, 4).exp().mean(1)
    ),
    "channels last": lambda: Does(
        lambda m, x: m.layer(x.contiguous(memory_format=torch.channels_last)),
        layer=nn.Conv2d(4, 3, 3),
    ),
    "weight standardised": lambda: Does(
        lambda m, x: F.conv2d(
            x, (m.w - m.w.mean((1, 2, 3), True)) / m.w.std((1, 2, 3), keepdim=True)
        ),
        w=weight(5, 4, 3, 3),
    ),
    "convolved by what it sees": lambda: Does(
        lambda m, x: F.conv2d(x, x.mean(0, keepdim=True)[:, :, :3, :3])
    ),
}
