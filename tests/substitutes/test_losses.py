"""Losses and distances as substitutes: exact in every nesting, and why each is there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes import ctc, distances, losses
from tests.substitutes.nestings import (
    TASKS,
    TORCH,
    Case,
    Operation,
    assert_exact,
    assert_exact_in,
    assert_is_torchs,
)

TABLE = {**losses.ALWAYS, **losses.FORWARD, **distances.ALWAYS, **ctc.ALWAYS}
ROWS = (4, 5)


def drawn(*shape, seed=5):
    return torch.randn(TASKS, *shape, generator=torch.Generator().manual_seed(seed)).double()


NUMBERS = drawn(*ROWS)
YES_OR_NO = (drawn(*ROWS, seed=8) > 0).double()
SIGNS = drawn(*ROWS, seed=6).sign()
CLASSES = torch.tensor([[0, 4, 2, 2], [1, 0, 3, 4]])
WEIGHTS = drawn(5, seed=7).abs() + 0.1
LABELS = torch.tensor([[1, 0, -1, 2, 3], [3, -1, 1, 0, 2], [0, 1, 2, 3, 4], [-1, 1, 1, 1, 1]])
LABELS = torch.stack([LABELS, LABELS.flip(0)])


def gaussian(mean, log_variance, target):
    return F.gaussian_nll_loss(mean, target, log_variance.exp(), full=True)


def smoothed(logits, classes, weight=None):
    return F.cross_entropy(logits, classes, weight, ignore_index=2, label_smoothing=0.1)


def weighted(logits, classes):
    return smoothed(logits, classes, WEIGHTS[0].to(logits.dtype))


def several(logits, targets, weight=None):
    return F.multilabel_soft_margin_loss(logits, targets.to(logits.dtype), weight)


def aligned(logits, targets, steps, lengths):
    return F.ctc_loss(logits.log_softmax(-1), targets, steps, lengths, reduction="none")


# four sequences: a repeated label, a shorter input, a shorter target, no target at all
TARGETS = torch.tensor([[1, 1, 2], [3, 4, 1], [2, 3, 2], [1, 2, 3]]).expand(TASKS, 4, 3)
STEPS = torch.tensor([[7, 6, 5, 7], [7, 7, 6, 4]])
LENGTHS = torch.tensor([[3, 3, 2, 0], [2, 3, 3, 0]])

# name: the operation, the nesting in which torch's own fails, and its error
REASONS = {
    "huber": (Operation(F.huber_loss, [ROWS], [NUMBERS]), "forward", "huber_loss_backward"),
    "huber_of_targets": (
        Operation(lambda x, y: F.huber_loss(x, y, delta=0.4), [ROWS, ROWS]),
        "forward",
        "huber_loss_backward",
    ),
    "mse": (Operation(F.mse_loss, [ROWS], [NUMBERS]), "forward", "ZeroTensors are immutable"),
    "soft_margin": (
        Operation(F.soft_margin_loss, [ROWS], [SIGNS]),
        "forward",
        "soft_margin_loss_backward",
    ),
    "hinge_embedding": (
        Operation(F.hinge_embedding_loss, [ROWS], [SIGNS]),
        "vectorised_forward",
        "inplace arithmetic",
    ),
    "multi_margin": (
        Operation(F.multi_margin_loss, [ROWS], [CLASSES]),
        "looped",
        "multi_margin_loss_backward",
    ),
    "multi_margin_squared": (
        Operation(
            lambda x, y, w: F.multi_margin_loss(x, y, p=2, margin=0.7, weight=w),
            [ROWS],
            [CLASSES, WEIGHTS],
        ),
        "looped",
        "multi_margin_loss_backward",
    ),
    "multilabel_margin": (
        Operation(F.multilabel_margin_loss, [ROWS], [LABELS]),
        "looped",
        "multilabel_margin_loss_backward",
    ),
    "gaussian_nll": (Operation(gaussian, [ROWS, ROWS], [NUMBERS]), "vectorised", "data-dependent"),
    "gaussian_nll_one_variance": (
        Operation(gaussian, [ROWS, (4, 1)], [NUMBERS]),
        "vectorised",
        "data-dependent",
    ),
    "label_smoothing": (
        Operation(smoothed, [ROWS], [CLASSES]),
        "vectorised",
        "inplace arithmetic",
    ),
    "weighted_label_smoothing": (
        Operation(weighted, [ROWS], [CLASSES]),
        "vectorised",
        "inplace arithmetic",
    ),
    "cdist": (Operation(torch.cdist, [ROWS, (3, 5)]), "looped", "_cdist_backward"),
    "cdist_1": (
        Operation(lambda a, b: torch.cdist(a, b, p=1.0), [ROWS, (3, 5)]),
        "looped",
        "_cdist_backward",
    ),
    "cdist_3": (
        Operation(lambda a, b: torch.cdist(a, b, p=3.0), [ROWS, (3, 5)]),
        "looped",
        "_cdist_backward",
    ),
    "cdist_inf": (
        Operation(lambda a, b: torch.cdist(a, b, p=torch.inf), [ROWS, (3, 5)]),
        "looped",
        "_cdist_backward",
    ),
    "cdist_of_many": (Operation(torch.cdist, [(27, 5), (3, 5)]), "forward", "_euclidean_dist"),
    "ctc": (
        Operation(aligned, [(7, 4, 5)], [TARGETS, STEPS, LENGTHS]),
        "looped",
        "_ctc_loss_backward",
    ),
    "pdist": (Operation(F.pdist, [ROWS]), "looped", "_pdist_backward"),
    "pdist_3": (Operation(lambda x: F.pdist(x, 3.0), [ROWS]), "looped", "_pdist_backward"),
}
OPERATIONS = {
    **{name: operation for name, (operation, _, _) in REASONS.items()},
    "multilabel_soft_margin": Operation(several, [ROWS], [YES_OR_NO]),
    "weighted_multilabel_soft_margin": Operation(several, [ROWS], [YES_OR_NO, WEIGHTS]),
}
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.mark.parametrize(("operation", "nesting", "error"), REASONS.values(), ids=REASONS)
def test_torchs_own_fails_in_a_nesting(operation, nesting, error):
    n = len(operation.shapes)
    failed = []
    for is_own in ([True] * n, [False] * n):
        try:
            getattr(Case(operation, TORCH, is_own), nesting)()
        except (RuntimeError, NotImplementedError) as raised:
            failed.append(str(raised))
    assert any(error in message for message in failed), failed


def test_torchs_loss_of_several_labels_warns_in_a_vmapped_forward_mode():
    with pytest.warns(UserWarning, match="resized"):
        Case(OPERATIONS["multilabel_soft_margin"], TORCH, [True]).vectorised_forward()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_value_and_first_derivative_are_torchs(operation):
    assert_is_torchs(operation, TABLE)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_every_nesting_is_exact(operation):
    assert_exact(operation, TABLE, {F.gaussian_nll_loss: losses.gaussian_nll_loss})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "name", ["huber", "mse", "soft_margin", "multi_margin_squared", "gaussian_nll", "cdist"]
)
def test_smaller_dtypes_are_exact_to_their_rounding(name, dtype):
    assert_exact_in(dtype, OPERATIONS[name], TABLE)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions_are_torchs(reduction):
    for torchs, target in [
        (F.huber_loss, NUMBERS),
        (F.mse_loss, NUMBERS),
        (F.soft_margin_loss, SIGNS),
        (F.hinge_embedding_loss, SIGNS),
        (F.multi_margin_loss, CLASSES),
        (F.multilabel_margin_loss, LABELS),
        (F.multilabel_soft_margin_loss, YES_OR_NO),
    ]:
        row = Operation(lambda x, y, f=torchs: f(x, y, reduction=reduction), [ROWS], [target])
        assert_is_torchs(row, TABLE)
    for constants in ([CLASSES], [CLASSES, WEIGHTS]):
        row = Operation(
            lambda x, y, w=None: F.cross_entropy(
                x, y, w, reduction=reduction, ignore_index=0, label_smoothing=0.2
            ),
            [ROWS],
            constants,
        )
        assert_is_torchs(row, TABLE)


@pytest.mark.filterwarnings("ignore:size_average and reduce args")
@pytest.mark.parametrize(
    "row",
    [
        Operation(F.multi_margin_loss, [(5,)], [CLASSES[:, 1]]),
        Operation(F.multilabel_margin_loss, [(5,)], [LABELS[:, 0]]),
        Operation(lambda x, y: smoothed(x, y), [(5,)], [CLASSES[:, 0]]),
        Operation(lambda x, y: smoothed(x, y), [(2, 5, 2)], [CLASSES.reshape(2, 2, 2)]),
        Operation(lambda x, w, y: F.mse_loss(x, y, weight=w.exp()), [ROWS, ROWS], [NUMBERS]),
        Operation(lambda x, w, y: F.huber_loss(x, y, weight=w.exp()), [ROWS, ROWS], [NUMBERS]),
        Operation(lambda x, v, y: F.gaussian_nll_loss(x, y, v.exp()), [ROWS, (4,)], [NUMBERS]),
        Operation(lambda x, y: F.gaussian_nll_loss(x, y, 0.3), [ROWS], [NUMBERS]),
        Operation(torch.cdist, [(2, 4, 5), (1, 3, 5)]),
        Operation(lambda a, b: torch.cdist(a, b, p=0.0), [ROWS, (3, 5)]),
        Operation(lambda a, b: torch.cdist(a, b, p=1.5), [ROWS, (3, 5)]),
        Operation(lambda x, y: nn.MSELoss(reduction="sum")(x, y), [ROWS], [NUMBERS]),
        Operation(lambda x, y: nn.SoftMarginLoss(reduce=False)(x, y), [ROWS], [SIGNS]),
    ],
)
def test_further_arguments_mean_what_they_mean_to_torch(row):
    assert_is_torchs(row, TABLE)


def test_a_loss_of_two_precisions_has_torchs():
    x, y = NUMBERS.float(), SIGNS.double()
    assert losses.mse_loss(x, y).dtype == F.mse_loss(x, y).dtype == torch.float64


def test_ctc_takes_one_sequence_and_lengths_as_numbers():
    log_probs = drawn(7, 5)[0].log_softmax(-1)
    for lengths in ((7, 3), (torch.tensor(7), torch.tensor(3))):
        found = ctc.ctc_loss(log_probs, TARGETS[0, 0], *lengths)
        expected = F.ctc_loss(log_probs, TARGETS[0, 0], torch.tensor(7), torch.tensor(3))
        torch.testing.assert_close(found, expected)
    two, lengths = log_probs[:, None].expand(7, 2, 5), ((7, 5), (3, 2))
    for reduction in ("none", "mean", "sum"):
        found = ctc.ctc_loss(two, TARGETS[0, :2], *lengths, reduction=reduction)
        expected = F.ctc_loss(two, TARGETS[0, :2], *lengths, reduction=reduction)
        torch.testing.assert_close(found, expected)


def test_a_target_longer_than_its_input_has_an_infinite_ctc_or_none():
    # 1 1 2 wants a blank between its ones: four steps
    log_probs = drawn(3, 5)[0].log_softmax(-1).requires_grad_()
    assert ctc.ctc_loss(log_probs, TARGETS[0, 0], 3, 3).isinf()
    loss = ctc.ctc_loss(log_probs, TARGETS[0, 0], 3, 3, zero_infinity=True)
    assert loss == 0
    assert torch.autograd.grad(loss, log_probs)[0].count_nonzero() == 0


def test_equal_rows_have_no_distance_and_no_derivative_of_any_order():
    # cdist of rows with themselves: zeros on the diagonal, whose square root has no derivative
    for n in (4, 27):
        x = torch.randn(n, 5, generator=torch.Generator().manual_seed(0)).double()
        own = x.clone().requires_grad_()
        mode = "donot_use_mm_for_euclid_dist"
        gradient = torch.autograd.grad(
            distances.cdist(own, own, compute_mode=mode).sum(), own, create_graph=True
        )[0]
        (second,) = torch.autograd.grad(gradient.square().sum(), own)
        torchs = torch.autograd.grad(torch.cdist(own, own, compute_mode=mode).sum(), own)[0]
        torch.testing.assert_close(gradient, torchs)
        assert second.isfinite().all()


def test_a_clamped_variance_keeps_torchs_derivative():
    variance = torch.tensor([1e-9, 0.5]).double().requires_grad_()
    mean, target = torch.zeros(2).double(), torch.tensor([1e-3, 1.0]).double()
    found, expected = (
        torch.autograd.grad(loss(mean, target, variance, eps=1e-6), variance)[0]
        for loss in (losses.gaussian_nll_loss, F.gaussian_nll_loss)
    )
    torch.testing.assert_close(found, expected)


def test_a_negative_variance_is_not_a_number():
    # torch looks and raises, which vmap refuses
    assert losses.gaussian_nll_loss(torch.ones(2), torch.ones(2), torch.tensor([1.0, -1.0])).isnan()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: losses.mse_loss(torch.ones(2), torch.ones(2), reduction="avg"), "none, mean or"),
        (lambda: losses.huber_loss(torch.ones(2), torch.ones(2), delta=0.0), "delta above 0"),
        (lambda: losses.mse_loss(torch.ones(2), torch.ones(2), weight=torch.ones(1)), "shape"),
        (
            lambda: losses.gaussian_nll_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 3)),
            "does not fit",
        ),
        (lambda: ctc.ctc_loss(drawn(7, 2, 5)[0], torch.ones(4).long(), 7, 2), r"targets \[N, S\]"),
        (lambda: losses.multi_margin_loss(torch.ones(3), torch.tensor(1), p=3), "p=1 or p=2"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, words):
    with pytest.raises(UserError, match=words):
        call()


def test_targets_of_another_size_are_warned_of_as_by_torch():
    with pytest.warns(UserWarning, match="different to the input size"):
        losses.mse_loss(torch.ones(2, 1), torch.ones(2))
