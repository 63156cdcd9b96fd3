"""Activations, weight norm and embeddings as substitutes: exact, and why each is there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes import activations, embedding, weight_norm
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

TABLE = {
    **activations.ALWAYS,
    **activations.VMAPPED,
    **activations.VECTORISED,
    **activations.FORWARD,
    **weight_norm.ALWAYS,
    **embedding.ALWAYS,
    **embedding.VMAPPED,
}
ROWS, WORDS = (4, 5), (6, 3)
INDICES = torch.tensor([[[0, 5, 1], [1, 1, 2]], [[3, 1, 1], [4, 0, 1]]])
LARGE = torch.tensor([-4.0, -2.0, 0.0, 2.0, 4.0]).double()  # on both sides of hardsigmoid's corners


def bag(mode, **options):
    return lambda table, indices: F.embedding_bag(indices, table, mode=mode, **options)


# the operation, the nesting in which torch's own fails or is off, and its error
REASONS = {
    "hardsigmoid": (
        Operation(lambda x: F.hardsigmoid(x + LARGE.to(x.dtype)), [ROWS]),
        "looped",
        "hardsigmoid_backward",
    ),
    "hardsigmoid_in_place": (
        Operation(lambda x: F.hardsigmoid(2 * x, inplace=True), [ROWS]),
        "looped",
        "hardsigmoid_backward",
    ),
    "rrelu": (Operation(F.rrelu, [ROWS]), "vectorised", "rrelu_with_noise"),
    "weight_norm": (
        Operation(torch._weight_norm, [(4, 3, 2), (4, 1, 1)]),
        "forward",
        "_weight_norm_interface",
    ),
    "weight_norm_of_all": (
        Operation(lambda v, g: torch._weight_norm(v, g, -1), [(4, 3), ()]),
        "forward",
        "different size",
    ),
    "weight_norm_of_columns": (
        Operation(lambda v, g: torch._weight_norm(v, g, 1), [(4, 3), (1, 3)]),
        "forward",
        "_weight_norm_interface",
    ),
    "embedding_bag_sum": (Operation(bag("sum"), [WORDS], [INDICES]), "looped", "_embedding_bag"),
    "embedding_bag_mean": (
        Operation(bag("mean", padding_idx=1), [WORDS], [INDICES]),
        "looped",
        "_embedding_bag",
    ),
    "embedding_bag_max": (
        Operation(bag("max", padding_idx=1), [WORDS], [INDICES]),
        "looped",
        "_embedding_bag",
    ),
    "embedding_bag_weighted": (
        Operation(
            lambda table, w, i: F.embedding_bag(i, table, mode="sum", per_sample_weights=w),
            [WORDS, (2, 3)],
            [INDICES],
        ),
        "looped",
        "_embedding_bag",
    ),
    "embedding_sparse": (
        Operation(lambda table, i: F.embedding(i, table, sparse=True), [WORDS], [INDICES]),
        "looped",
        "sparse",
    ),
    "one_hot": (
        Operation(lambda table, i: F.one_hot(i, 6).to(table.dtype) @ table, [WORDS], [INDICES]),
        "vectorised",
        "data-dependent",
    ),
}
OPERATIONS = {
    **{name: operation for name, (operation, _, _) in REASONS.items()},
    "logsigmoid": Operation(F.logsigmoid, [ROWS]),
    "glu": Operation(lambda x: F.glu(x, 0), [ROWS]),
    "prelu": Operation(F.prelu, [ROWS, (5,)]),
    "prelu_of_one_slope": Operation(F.prelu, [(2, 3, 2), (1,)]),
    "prelu_of_images": Operation(lambda x, w: x.prelu(w), [(2, 3, 2, 2), (3,)]),
    "norm_except_dim": Operation(lambda v: torch.norm_except_dim(v, 2, 1), [(4, 3)]),
    "norm_of_all": Operation(lambda v: torch.norm_except_dim(v, 2, -1), [(4, 3)]),
}
PADDED = {
    "padding_idx": lambda table, i: F.embedding(i, table, padding_idx=1),
    "padding_from_the_end": lambda table, i: F.embedding(i, table, padding_idx=-5),
    "torch_embedding": lambda table, i: torch.embedding(table, i, 1),
}
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.mark.parametrize(("operation", "nesting", "error"), REASONS.values(), ids=REASONS)
def test_torchs_own_fails_in_a_nesting(operation, nesting, error):
    case = Case(operation, TORCH, [True] * len(operation.shapes))
    with pytest.raises((RuntimeError, NotImplementedError), match=error):
        getattr(case, nesting)()


def test_torchs_weight_norm_has_a_wrong_second_derivative():
    case = Case(OPERATIONS["weight_norm"], TORCH, [True, True])
    assert relative_error(case.reverse(), case.differences()) > 0.1  # no vmap anywhere


def test_torchs_logsigmoid_warns_in_a_vmapped_forward_mode():
    with pytest.warns(UserWarning, match="resized"):
        Case(OPERATIONS["logsigmoid"], TORCH, [True]).vectorised_forward()


def test_torchs_glu_has_no_forward_mode_in_bfloat16_on_a_processor():
    x = torch.ones(4).bfloat16()
    with pytest.raises(NotImplementedError, match="glu_jvp_cpu"):
        torch.func.jvp(F.glu, (x,), (x,))


def test_torchs_prelu_warns_where_tasks_differ_in_the_slope_alone():
    with pytest.warns(UserWarning, match="resized"):
        Case(OPERATIONS["prelu"], TORCH, [False, True]).vectorised()


def test_logsigmoid_is_torchs_far_from_zero_too():
    x = torch.tensor([-800.0, -50.0, -1e-3, 0.0, 30.0, 50.0, 800.0]).double()
    torch.testing.assert_close(activations.logsigmoid(x), F.logsigmoid(x), rtol=1e-15, atol=0)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_value_and_first_derivative_are_torchs(operation, request):
    if "sparse" in request.node.name:
        pytest.skip("torch's gradient is a sparse tensor")
    # torch's hardsigmoid differentiates by a sixth of float32, in float64 too
    tolerance = 1e-7 if "hardsigmoid" in request.node.name else 1e-12
    assert_is_torchs(operation, TABLE, tolerance)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_nesting_is_exact(operation, request):
    dense = {F.embedding: embedding.embedding} if "sparse" in request.node.name else TORCH
    assert_exact(operation, TABLE, dense)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name",
    ["hardsigmoid", "prelu", "rrelu", "logsigmoid", "glu", "weight_norm", "embedding_bag_mean"],
)
def test_smaller_dtypes_are_exact_to_their_rounding(name, dtype):
    assert_exact_in(dtype, OPERATIONS[name], TABLE)


@pytest.mark.parametrize("function", PADDED.values(), ids=PADDED)
def test_a_padding_row_gets_no_gradient_where_tasks_are_vectorised(function):
    # torch's loses padding_idx in the backward of its backward: the row moves
    operation = Operation(function, [WORDS], [INDICES])
    assert_is_torchs(operation, TABLE)
    for is_own in ([True], [False]):
        expected = Case(operation, TORCH, is_own).looped()
        assert relative_error(Case(operation, TORCH, is_own).vectorised(), expected) > 1e-2
        case = Case(operation, TABLE, is_own)
        assert relative_error(case.vectorised(), expected) < 1e-12
        assert relative_error(case.looped(), expected) < 1e-12
        assert case.vectorised()[0][1].count_nonzero() == 0
        reverse = Case(operation, TORCH, is_own).reverse()
        for products in (case.reverse(), case.forward(), case.vectorised_forward()):
            assert relative_error(products, reverse) < 1e-12
            assert products[0][:, 1].count_nonzero() == 0


def test_hardsigmoid_is_flat_at_its_corners_as_torchs():
    x = torch.tensor([-3.0, 3.0]).double().requires_grad_()
    for function in (activations.hardsigmoid, F.hardsigmoid):
        assert torch.autograd.grad(function(x).sum(), x)[0].count_nonzero() == 0


@pytest.mark.parametrize("function", [activations.hardsigmoid, activations.rrelu])
def test_in_place_the_input_is_changed(function):
    x = torch.tensor([-1.0, 1.0])
    assert function(x, inplace=True) is x
    assert torch.equal(x, function(torch.tensor([-1.0, 1.0])))


def test_rrelu_draws_slopes_between_its_bounds_for_each_task():
    x = -torch.ones(TASKS, 50)
    with Replacing(TABLE):
        draw = torch.func.vmap(lambda x: F.rrelu(x, 0.1, 0.3, True), randomness="different")
        first, second = draw(x)
    assert ((first >= -0.3) & (first <= -0.1)).all()
    assert not torch.equal(first, second)


def test_torchs_gumbel_softmax_refuses_shared_logits_and_ours_draws_for_each_task():
    logits = torch.log(torch.tensor([0.2, 0.8]))

    def sample(_):
        return F.gumbel_softmax(logits, hard=True)

    vectorised = torch.func.vmap(sample, randomness="different")
    with pytest.raises(RuntimeError, match="different inplace randomness"):
        vectorised(torch.arange(2))
    torch.manual_seed(0)
    with Replacing(TABLE):
        samples = vectorised(torch.arange(4000))
    assert torch.equal(samples.unique(dim=0), torch.eye(2).flip(0))
    # the probabilities themselves, within five standard errors sqrt(0.2 * 0.8 / 4000)
    assert abs(samples[:, 0].mean() - 0.2) < 5 * 0.00632


def test_one_hot_refuses_a_class_out_of_range_and_an_open_number_of_classes():
    classes = torch.tensor([0, 2])
    assert torch.equal(embedding.one_hot(classes, 3), F.one_hot(classes, 3))
    with pytest.raises(IndexError):
        embedding.one_hot(classes, 2)
    with pytest.raises(UserError, match="num_classes"):
        embedding.one_hot(classes)


def test_an_empty_bag_is_zero_as_torchs():
    table = torch.ones(3, 2)
    for mode in ("sum", "mean", "max"):
        call = {"mode": mode, "padding_idx": 1}
        indices = torch.ones(1, 2, dtype=torch.long)
        found = embedding.embedding_bag(indices, table, **call)
        assert torch.equal(found, F.embedding_bag(indices, table, **call))


@pytest.mark.parametrize(
    ("layer", "inputs", "words"),
    [
        (nn.Embedding(4, 2, max_norm=1.0), [INDICES[0] % 4], "changes its weights in place"),
        (
            nn.Embedding(4, 2, scale_grad_by_freq=True),
            [INDICES[0] % 4],
            "Leave out scale_grad_by_freq",
        ),
        (nn.EmbeddingBag(4, 2, max_norm=1.0), [INDICES[0] % 4], "changes its weights in place"),
        (nn.EmbeddingBag(6, 2), [INDICES[0, 0], torch.tensor([0, 2])], "bags of equal size"),
    ],
)
def test_embeddings_without_exact_gradients_are_refused(layer, inputs, words):
    with Replacing(TABLE), pytest.raises(UserError, match=words):
        layer(*inputs)


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_both_weight_norms_of_torch_reach_the_row(wrap):
    torch.manual_seed(0)
    module = wrap(nn.Linear(3, 2)).double()
    theta = {n: p.detach() for n, p in module.named_parameters()}
    x = torch.randn(4, 3).double()
    v = {n: torch.randn_like(p) for n, p in theta.items()}

    def loss(phi):
        with Replacing(TABLE):
            return torch.func.functional_call(module, phi, (x,)).square().sum()

    product = torch.func.jvp(torch.func.grad(loss), (theta,), (v,))[1]
    h = 1e-5
    ends = [
        torch.func.grad(loss)({n: p + sign * h * v[n] for n, p in theta.items()})
        for sign in (1, -1)
    ]
    differences = [(ends[0][n] - ends[1][n]) / (2 * h) for n in theta]
    assert relative_error([product[n] for n in theta], differences) < 1e-6
