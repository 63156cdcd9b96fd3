"""How users write modules: hooks, buffers, state, sharing, freezing, custom backwards, blocks."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from tests.zoo.network import Does


class Cube(torch.autograd.Function):
    """x^3, with the rule by which vmap takes it too."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2

    @staticmethod
    def jvp(ctx, t):
        return 3 * t * ctx.saved_tensors[0] ** 2


class CubeWithoutRule(Cube):
    generate_vmap_rule = False


class OldCube(torch.autograd.Function):
    """x^3, as written before torch.func."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2


class Reversed(torch.autograd.Function):
    """Gradient reversal: the identity, whose gradient is turned round on purpose."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return -g


class OnceOnly(torch.autograd.Function):
    """x^3, whose backward cannot be differentiated."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 3 * g * ctx.saved_tensors[0] ** 2


class Positive(nn.Module):
    def forward(self, x):
        return F.softplus(x)


class Sequence(nn.Module):
    """Keyword arguments, a default, a dict between its own parts."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"up": nn.Linear(8, 12), "down": nn.Linear(12, 8)})

    def forward(self, x, *, scale=1.0, residual=True):
        hidden = {"up": F.gelu(self.parts["up"](x))}
        y = scale * self.parts["down"](hidden["up"])
        return x + y if residual else y


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.layer = 0, nn.Linear(8, 8)

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


def linear():
    return nn.Linear(8, 8)


def rounded(m, x):
    return x + (x.round() - x).detach()


def binary_weight(m, x):
    sign = m.weight.sign() * m.weight.abs().mean()
    return x @ (m.weight + (sign - m.weight).detach())


def without_gradient(m, x):
    with torch.no_grad():
        scale = x.norm()
    return m.layer(x / scale)


def detached_target(m, x):
    return x * F.normalize(x).detach()


def momentum_state(m, x):
    m.average = 0.9 * m.average + 0.1 * x.detach().mean(0)
    return x - m.average


def kept(m, x):
    m.last = m.layer(x)
    return m.last.tanh()


def cached(m, x):
    if m.cache is None:
        m.cache = torch.linspace(-1, 1, 8).to(x)
    return x * m.cache


def by_value(m, x):
    return x if float(x.sum()) > 0 else -x


def by_mask(m, x):
    return x[x > 0].sum() * x


def by_training(m, x):
    return m.layer(x) + (x.mean(0) if m.training else 0)


def energy(m, x):
    with torch.enable_grad():
        x = x.clone().requires_grad_() if not x.requires_grad else x
        return torch.autograd.grad(m.layer(x).tanh().square().sum(), x, create_graph=True)[0]


def functional_gradient(m, x):
    return torch.func.grad(lambda x: m.layer(x).tanh().square().sum())(x)


def with_hook(m):
    m.register_forward_hook(lambda module, args, output: output * 1.5)
    return m


def with_pre_hook(m):
    m.register_forward_pre_hook(lambda module, args: (args[0] * 0.5,))
    return m


def with_backward_hook(m):
    m.register_full_backward_hook(lambda module, gi, go: (gi[0] * 2,))
    return m


def tensor_hook(m, x):
    y = m.layer(x)
    if y.requires_grad:
        y.register_hook(lambda g: g)
    return y.tanh()


def frozen(m, *names):
    for name, p in m.named_parameters():
        p.requires_grad_(name not in names)
    return m


def buffered(m, **buffers):
    for name, value in buffers.items():
        m.register_buffer(name, value)
    return m


def twice(layer):
    return nn.Sequential(layer, nn.Tanh(), layer)


def sharing():
    a, b = linear(), linear()
    b.weight = a.weight
    return nn.Sequential(a, nn.Tanh(), b)


def parametrised(kind):
    layer = linear()
    parametrize.register_parametrization(layer, "weight", kind)
    return layer


def spectral(*, at_rest):
    layer = parametrizations.spectral_norm(linear())
    return layer.eval() if at_rest else layer


def lazy():
    return nn.LazyLinear(5)


def warmed_up():
    layer = nn.LazyLinear(5)
    layer(torch.zeros(1, 8))
    return layer


VECTOR = {
    "custom function": lambda: Does(lambda m, x: Cube.apply(x)),
    "custom function without a rule": lambda: Does(lambda m, x: CubeWithoutRule.apply(x)),
    "custom function in the old style": lambda: Does(lambda m, x: OldCube.apply(x)),
    "custom function, once differentiable": lambda: Does(lambda m, x: OnceOnly.apply(x)),
    "gradient reversal": lambda: Does(lambda m, x: Reversed.apply(x).tanh()),
    "straight-through rounding": lambda: Does(rounded),
    "straight-through binary weight": lambda: Does(
        binary_weight, weight=nn.Parameter(torch.linspace(-1, 1, 64).mul(5).sin().view(8, 8))
    ),
    "no_grad": lambda: Does(without_gradient, layer=linear()),
    "detach": lambda: Does(detached_target),
    "state in an attribute": lambda: Does(momentum_state, average=torch.zeros(8)),
    "kept activation": lambda: Does(kept, layer=linear()),
    "cached constant": lambda: Does(cached, cache=None),
    "counted calls": Counting,
    "branch by value": lambda: Does(by_value),
    "rows by a mask": lambda: Does(by_mask),
    "branch by training": lambda: Does(by_training, layer=linear()),
    "autograd.grad inside": lambda: Does(energy, layer=linear()),
    "func.grad inside": lambda: Does(functional_gradient, layer=linear()),
    "checkpoint": lambda: Does(
        lambda m, x: checkpoint(m.layer, x, use_reentrant=False), layer=linear()
    ),
    "checkpoint, reentrant": lambda: Does(
        lambda m, x: checkpoint(m.layer, x, use_reentrant=True), layer=linear()
    ),
    "forward hook": lambda: with_hook(linear()),
    "forward pre-hook": lambda: with_pre_hook(linear()),
    "backward hook": lambda: with_backward_hook(linear()),
    "tensor hook": lambda: Does(tensor_hook, layer=linear()),
    "frozen weight": lambda: frozen(linear(), "weight"),
    "frozen altogether": lambda: frozen(linear(), "weight", "bias"),
    "buffer": lambda: buffered(
        Does(lambda m, x: x * m.scale + m.shift), scale=torch.ones(8) / 3, shift=torch.ones(1)
    ),
    "layer used twice": lambda: twice(linear()),
    "shared weight": sharing,
    "weight norm": lambda: parametrizations.weight_norm(linear()),
    "weight norm by hook": lambda: nn.utils.weight_norm(linear()),
    "spectral norm": lambda: spectral(at_rest=False),
    "spectral norm at rest": lambda: spectral(at_rest=True),
    "orthogonal": lambda: parametrizations.orthogonal(linear()),
    "orthogonal, by Cayley": lambda: parametrizations.orthogonal(linear(), orthogonal_map="cayley"),
    "positive weight": lambda: parametrised(Positive()),
    "lazy": lazy,
    "lazy, called once": warmed_up,
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.Tanh())),
    "scripted layer norm": lambda: torch.jit.script(nn.LayerNorm(8)),
    "keywords and dicts": Sequence,
    "halves what it is given in place": lambda: Does(lambda m, x: x.mul_(0.5)),
    "ordered layers": lambda: nn.Sequential(OrderedDict(a=linear(), b=nn.SiLU(), c=linear())),
    "parameters in lists": lambda: Does(
        lambda m, x: sum(torch.sin(x * p) for p in m.weights),
        weights=nn.ParameterList([torch.ones(8), 2 * torch.ones(8)]),
    ),
    "scalar parameter": lambda: Does(
        lambda m, x: m.scale * x.tanh(), scale=nn.Parameter(torch.tensor(0.7))
    ),
    "unused parameter": lambda: Does(lambda m, x: x.tanh(), idle=nn.Linear(3, 3)),
}
