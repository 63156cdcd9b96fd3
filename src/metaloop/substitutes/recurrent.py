"""LSTM, GRU and RNN written from linear maps, sigmoid and tanh.

Torch's fused layers have no vmap rule, no forward derivative in float32 (LSTM) and, with cuDNN, no
second derivative. Elsewhere they are exact, and faster.

Shapes: input [T, N, I] (or [N, T, I], batch_first), hx [layers * directions, N, H], output
[T, N, directions * H], for T steps and N sequences.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes.precision import full_precision

State = tuple[Tensor, ...]  # (h,), or an LSTM's (h, c)
# (W x + b of one step, previous state, W_hh, b_hh, W_hr of an LSTM) -> next state
Cell = Callable[[Tensor, State, Tensor, Tensor | None, Tensor | None], State]


def _lstm_step(
    x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None
) -> State:
    """Compute c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = W_hr (sigmoid(o) tanh(c')).

    Hochreiter and Schmidhuber 1997, with the projection of Sak et al. 2014 (arXiv:1402.1128).
    """
    h, c = state
    i, f, g, o = (x + F.linear(h, w_hh, b_hh)).chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if w_hr is None else F.linear(h, w_hr)), c


def _gru_step(
    x: Tensor, state: State, w_hh: Tensor, b_hh: Tensor | None, _: Tensor | None
) -> State:
    """Compute h' = (1 - z) n + z h with n = tanh(W_in x + b_in + r (W_hn h + b_hn)).

    Cho et al. 2014 (arXiv:1406.1078), with the reset applied after the product, as in torch.
    """
    (h,) = state
    sizes = [2 * h.shape[-1], h.shape[-1]]
    gates_x, n_x = torch.split_with_sizes(x, sizes, -1)
    gates_h, n_h = torch.split_with_sizes(F.linear(h, w_hh, b_hh), sizes, -1)
    r, z = torch.sigmoid(gates_x + gates_h).chunk(2, dim=-1)
    n = torch.tanh(n_x + r * n_h)
    return (n + z * (h - n),)


def _rnn_step(
    x: Tensor,
    state: State,
    w_hh: Tensor,
    b_hh: Tensor | None,
    _: Tensor | None,
    activation: Callable[[Tensor], Tensor],
) -> State:
    """Compute h' = activation(W_ih x + b_ih + W_hh h + b_hh): Elman 1990."""
    return (activation(x + F.linear(state[0], w_hh, b_hh)),)


_rnn_tanh_step = partial(_rnn_step, activation=torch.tanh)
_rnn_relu_step = partial(_rnn_step, activation=torch.relu)


def _direction(
    cell: Cell, x: Tensor, state: State, weights: Sequence[Tensor], *, has_biases: bool, back: bool
) -> tuple[Tensor, State]:
    """Run one direction of one layer over all steps; return outputs [T, N, H] and last state."""
    w_ih, w_hh, *rest = weights
    b_ih, b_hh = rest[:2] if has_biases else (None, None)
    w_hr = rest[-1] if len(rest) % 2 else None
    steps = list(F.linear(x, w_ih, b_ih).unbind(0))
    outputs = []
    for step in reversed(steps) if back else steps:
        state = cell(step, state, w_hh, b_hh, w_hr)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if back else outputs), state


def _run(
    cell: Cell,
    x: Tensor,
    hx: State,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """Run all layers with dropout between them; return outputs and every layer's last state."""
    dtype = x.dtype
    x = full_precision(x.transpose(0, 1) if batch_first else x)
    initial = [full_precision(part).unbind(0) for part in hx]
    weights = [full_precision(p) for p in params]
    directions = 2 if bidirectional else 1
    count = len(weights) // (num_layers * directions)
    last = []
    for layer in range(num_layers):
        outputs = []
        for index in range(layer * directions, (layer + 1) * directions):
            output, state = _direction(
                cell,
                x,
                tuple(part[index] for part in initial),
                weights[index * count : (index + 1) * count],
                has_biases=has_biases,
                back=index % directions == 1,
            )
            outputs.append(output)
            last.append(state)
        x = torch.cat(outputs, dim=-1) if bidirectional else outputs[0]
        if dropout and layer < num_layers - 1:
            x = F.dropout(x, dropout, train)
    x = x.transpose(0, 1) if batch_first else x
    return x.to(dtype), *(torch.stack(parts).to(dtype) for parts in zip(*last, strict=True))


def _refuse_packed(name: str) -> NoReturn:
    raise UserError(
        f"{name} got a packed sequence, which cannot be vectorised over tasks or differentiated "
        "in forward mode. Pass the padded tensor to the layer and mask its output, or use "
        "tasks_at_once=1 with adjoint=unrolled."
    )


def lstm(
    input: Tensor, hx: Sequence[Tensor] | Tensor, params: Sequence[Tensor], *options: object
) -> tuple[Tensor, ...]:
    """Replace torch.lstm; see `_run` for the options."""
    if isinstance(hx, Tensor):
        _refuse_packed("LSTM")
    return _run(_lstm_step, input, tuple(hx), params, *options)  # type: ignore[arg-type]


def _single_state(
    name: str,
    cell: Cell,
    input: Tensor,
    hx: Tensor,
    params: Sequence[Tensor] | Tensor,
    *options: object,
) -> tuple[Tensor, ...]:
    """Replace torch.gru, torch.rnn_tanh and torch.rnn_relu; see `_run` for the options."""
    if isinstance(params, Tensor):
        _refuse_packed(name)
    return _run(cell, input, (hx,), params, *options)  # type: ignore[arg-type]


gru = partial(_single_state, "GRU", _gru_step)
rnn_tanh = partial(_single_state, "RNN", _rnn_tanh_step)
rnn_relu = partial(_single_state, "RNN", _rnn_relu_step)


def _one_step(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
) -> State:
    optional = [None if b is None else full_precision(b) for b in (b_ih, b_hh)]
    projected = F.linear(full_precision(x), full_precision(w_ih), optional[0])
    before = tuple(full_precision(part) for part in state)
    after = cell(projected, before, full_precision(w_hh), optional[1], None)
    return tuple(part.to(x.dtype) for part in after)


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> State:
    """Replace torch.lstm_cell, which nn.LSTMCell calls."""
    return _one_step(_lstm_step, input, hx, w_ih, w_hh, b_ih, b_hh)


def _single_state_cell(
    cell: Cell,
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """Replace torch.gru_cell, torch.rnn_tanh_cell and torch.rnn_relu_cell."""
    return _one_step(cell, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


gru_cell = partial(_single_state_cell, _gru_step)
rnn_tanh_cell = partial(_single_state_cell, _rnn_tanh_step)
rnn_relu_cell = partial(_single_state_cell, _rnn_relu_step)

# under any vmap, recorded or not: torch's layers add in place to tensors that are not batched
VMAPPED: dict[Callable[..., object], Callable[..., object]] = {
    torch.lstm: lstm,
    torch.gru: gru,
    torch.rnn_tanh: rnn_tanh,
    torch.rnn_relu: rnn_relu,
    torch.lstm_cell: lstm_cell,
    torch.gru_cell: gru_cell,
    torch.rnn_tanh_cell: rnn_tanh_cell,
    torch.rnn_relu_cell: rnn_relu_cell,
}
# oneDNN's float32 LSTM has no forward derivative, nor have CUDA's fused cells
FORWARD: dict[Callable[..., object], Callable[..., object]] = {
    row: VMAPPED[row] for row in (torch.lstm, torch.lstm_cell, torch.gru_cell)
}


def _recorded(function: Callable[..., object], place: int) -> Callable[..., object]:
    """Replace a layer that cuDNN computes, but let torch's other kernels take packed sequences.

    The argument at `place` is a single tensor only if the sequence is packed.
    """

    def call(*args: object, **named: object) -> object:
        if not isinstance(args[place], Tensor):
            return VMAPPED[function](*args, **named)
        with torch.backends.cudnn.flags(enabled=False):
            return function(*args, **named)

    return call


# on CUDA, wherever a gradient is recorded: cuDNN's backward cannot be differentiated
CUDNN: dict[Callable[..., object], Callable[..., object]] = {
    torch.lstm: _recorded(torch.lstm, 1),
    **{row: _recorded(row, 2) for row in (torch.gru, torch.rnn_tanh, torch.rnn_relu)},
}
