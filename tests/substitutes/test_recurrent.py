"""LSTM, GRU and RNN as substitutes: exact in every nesting, and why each is there."""

import copy

import pytest
import torch
from torch import nn

from metaloop.errors import UserError
from metaloop.substitutes import recurrent
from tests.substitutes.nestings import (
    TASKS,
    TORCH,
    Case,
    Operation,
    Replacing,
    assert_exact,
    assert_exact_in,
    assert_is_torchs,
    relative_error,
)

TABLE = {**recurrent.VMAPPED, **recurrent.FORWARD}
STEPS, SEQUENCES, INPUTS, HIDDEN = 3, 2, 2, 3
X = (STEPS, SEQUENCES, INPUTS)


def weights(gates):
    """The shapes of one layer's W_ih, W_hh, b_ih, b_hh."""
    rows = gates * HIDDEN
    return [(rows, INPUTS), (rows, HIDDEN), (rows,), (rows,)]


def run(function):
    """One layer as nn.GRU and nn.RNN call it, biases and all."""
    return lambda x, h, *params: function(x, h, list(params), True, 1, 0.0, True, False, False)


def run_lstm(x, h, c, *params):
    return torch.lstm(x, (h, c), list(params), True, 1, 0.0, True, False, False)


STATE, ONE = (1, SEQUENCES, HIDDEN), (SEQUENCES, HIDDEN)
LAYERS = {
    "lstm": Operation(run_lstm, [X, STATE, STATE, *weights(4)]),
    "gru": Operation(run(torch.gru), [X, STATE, *weights(3)]),
    "rnn_tanh": Operation(run(torch.rnn_tanh), [X, STATE, *weights(1)]),
    "rnn_relu": Operation(run(torch.rnn_relu), [X, STATE, *weights(1)]),
    "lstm_cell": Operation(
        lambda x, h, c, *p: torch.lstm_cell(x, (h, c), *p), [X[1:], ONE, ONE, *weights(4)]
    ),
    "gru_cell": Operation(torch.gru_cell, [X[1:], ONE, *weights(3)]),
    "rnn_tanh_cell": Operation(torch.rnn_tanh_cell, [X[1:], ONE, *weights(1)]),
    "rnn_relu_cell": Operation(torch.rnn_relu_cell, [X[1:], ONE, *weights(1)]),
}
MODULES = {
    "two_layers": lambda: nn.LSTM(INPUTS, HIDDEN, num_layers=2),
    "bidirectional": lambda: nn.LSTM(INPUTS, HIDDEN, num_layers=2, bidirectional=True),
    "batch_first": lambda: nn.LSTM(INPUTS, HIDDEN, batch_first=True),
    "without_bias": lambda: nn.LSTM(INPUTS, HIDDEN, bias=False),
    "projected": lambda: nn.LSTM(INPUTS, HIDDEN, num_layers=2, proj_size=2),
    "projected_without_bias": lambda: nn.LSTM(
        INPUTS, HIDDEN, bias=False, proj_size=2, bidirectional=True
    ),
    "gru": lambda: nn.GRU(INPUTS, HIDDEN, num_layers=2, bidirectional=True, batch_first=True),
    "gru_without_bias": lambda: nn.GRU(INPUTS, HIDDEN, bias=False),
    "rnn": lambda: nn.RNN(INPUTS, HIDDEN, num_layers=2),
    "rnn_relu": lambda: nn.RNN(INPUTS, HIDDEN, nonlinearity="relu", bidirectional=True),
    "dropout": lambda: nn.LSTM(INPUTS, HIDDEN, num_layers=3, dropout=0.5),
    "dropout_in_evaluation": lambda: nn.GRU(INPUTS, HIDDEN, num_layers=2, dropout=0.5).eval(),
    "lstm_cell": lambda: nn.LSTMCell(INPUTS, HIDDEN),
    "gru_cell": lambda: nn.GRUCell(INPUTS, HIDDEN, bias=False),
    "rnn_cell": lambda: nn.RNNCell(INPUTS, HIDDEN, nonlinearity="relu"),
}
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.fixture(params=MODULES)
def module(request):
    torch.manual_seed(0)
    return MODULES[request.param]().double()


def tensors_of(outputs):
    return (
        [outputs]
        if isinstance(outputs, torch.Tensor)
        else [t for part in outputs for t in tensors_of(part)]
    )


def evaluate(module, table, *inputs):
    """All outputs, and the gradient of the sum of their squares in all weights."""
    torch.manual_seed(1)
    with Replacing(table):
        outputs = tensors_of(module(*inputs))
    weights = list(module.parameters())
    gradient = torch.autograd.grad(sum(o.square().sum() for o in outputs), weights)
    return [o.detach() for o in outputs], gradient


@pytest.mark.parametrize("operation", LAYERS.values(), ids=LAYERS)
def test_torchs_own_is_refused_by_vmap(operation):
    # own inputs meet shared weights, and fail where gates are added in place
    is_own = [i == 0 for i in range(len(operation.shapes))]
    with pytest.raises(RuntimeError, match="broadcast shape"):
        Case(operation, TORCH, is_own).vectorised()


def test_torchs_float32_lstm_has_no_forward_mode():
    case = Case(LAYERS["lstm"], TORCH, [True] * 7, torch.float32)
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN, whose LSTM this is")
    with pytest.raises(NotImplementedError, match="mkldnn_rnn_layer"):
        case.forward()
    forward_alone = Case(LAYERS["lstm"], recurrent.FORWARD, [True] * 7, torch.float32)
    assert relative_error(forward_alone.forward(), forward_alone.reverse()) < 1e-5


@pytest.mark.parametrize("operation", LAYERS.values(), ids=LAYERS)
def test_value_and_first_derivative_are_torchs(operation):
    assert_is_torchs(operation, TABLE)


@pytest.mark.parametrize("operation", LAYERS.values(), ids=LAYERS)
def test_every_nesting_is_exact(operation):
    assert_exact(operation, TABLE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh", "lstm_cell", "gru_cell"])
def test_smaller_dtypes_are_exact_to_their_rounding(name, dtype):
    assert_exact_in(dtype, LAYERS[name], TABLE)


def test_a_module_with_any_options_gives_what_torch_gives(module):
    is_cell = isinstance(module, nn.RNNCellBase)
    x = torch.randn(4, *([] if is_cell else [5]), INPUTS).double()
    for inputs in (x, x[0]):  # the last without a batch
        found, expected = (evaluate(module, table, inputs) for table in (TABLE, TORCH))
        for ours, torchs in zip(found, expected, strict=True):
            assert [o.shape for o in ours] == [t.shape for t in torchs]
            assert relative_error(ours, torchs) < 1e-12


def test_an_initial_state_is_taken():
    torch.manual_seed(0)
    module = nn.LSTM(INPUTS, HIDDEN, num_layers=2, proj_size=2).double()
    x, h, c = (torch.randn(s).double() for s in ((4, 5, INPUTS), (2, 5, 2), (2, 5, HIDDEN)))
    found, expected = (evaluate(module, table, x, (h, c)) for table in (TABLE, TORCH))
    for ours, torchs in zip(found, expected, strict=True):
        assert relative_error(ours, torchs) < 1e-12


def test_a_module_with_any_options_is_exact_vectorised(module):
    """The meta-gradient of one inner step, vmapped, against the substitutes' own loop."""
    if isinstance(module, nn.RNNBase) and module.dropout and module.training:
        module.dropout = 0.0  # each task draws its own mask: another number for a loop
    is_cell = isinstance(module, nn.RNNCellBase)
    x = torch.randn(TASKS, 4, *([] if is_cell else [3]), INPUTS).double()
    theta = dict(module.named_parameters())

    def loss(phi, x):
        with Replacing(TABLE):
            outputs = tensors_of(torch.func.functional_call(module, phi, (x,)))
        return sum(o.square().mean() for o in outputs)

    def adapted_loss(x):
        gradient = torch.func.grad(loss)(theta, x)
        return loss({n: p - 0.1 * gradient[n] for n, p in theta.items()}, x)

    looped = torch.stack([adapted_loss(task) for task in x]).sum()
    vectorised = torch.func.vmap(adapted_loss)(x).sum()
    found, expected = (
        torch.autograd.grad(total, list(theta.values())) for total in (vectorised, looped)
    )
    assert relative_error(found, expected) < 1e-12


def test_every_task_draws_its_own_dropout_mask():
    module = nn.LSTM(INPUTS, 64, num_layers=2, dropout=0.5)
    x = torch.ones(TASKS, 1, 1, INPUTS)

    def hidden(x):
        with Replacing(TABLE):
            return module(x)[0]

    first, second = torch.func.vmap(hidden, randomness="different")(x)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_in_place_of_cudnn_padded_sequences_are_ours_and_packed_ones_torchs_other_kernels(make):
    torch.manual_seed(0)
    x, module = torch.randn(3, 2, INPUTS), make(INPUTS, HIDDEN)
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2]))
    expected = module(x)[0], module(packed)[0].data
    with Replacing(recurrent.CUDNN):
        found = module(x)[0], module(packed)[0].data
    for ours, torchs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torchs)


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_sequences_are_refused_in_words(make):
    packed = nn.utils.rnn.pack_padded_sequence(torch.ones(3, 2, INPUTS), torch.tensor([3, 2]))
    module = make(INPUTS, HIDDEN)
    with Replacing(TABLE), pytest.raises(UserError, match="packed sequence.*padded tensor"):
        module(packed)
    assert copy.copy(module)(packed)[0].data.shape == (5, HIDDEN)  # torch's own takes them
