"""Sampling of images as a substitute: torch's has no forward mode."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes import sampling
from tests.substitutes.nestings import (
    TORCH,
    Case,
    Operation,
    assert_exact,
    assert_exact_in,
    assert_is_torchs,
)

IMAGE, PLACES = (2, 2, 4, 5), (2, 3, 2, 2)
VOLUME, PLACES_3D = (1, 2, 3, 4, 2), (1, 2, 1, 2, 3)
PADDINGS = ("zeros", "border", "reflection")


def sample(mode, padding, align):
    # 1.5: places outside the image too
    return lambda x, grid: F.grid_sample(x, 1.5 * grid, mode, padding, align)


OPERATIONS = {
    f"{mode}_{padding}_{align}": Operation(sample(mode, padding, align), [IMAGE, PLACES])
    for mode, padding, align in itertools.product(
        ("bilinear", "nearest", "bicubic"), PADDINGS, (True, False)
    )
} | {
    f"volume_{mode}_{padding}": Operation(sample(mode, padding, False), [VOLUME, PLACES_3D])
    for mode, padding in itertools.product(("bilinear", "nearest"), PADDINGS)
}
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.mark.parametrize("name", ["bilinear_zeros_True", "volume_bilinear_zeros"])
def test_torchs_own_has_no_forward_mode(name):
    with pytest.raises(NotImplementedError, match="grid_sampler"):
        Case(OPERATIONS[name], TORCH, [True, True]).forward()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_value_and_first_derivative_are_torchs(operation):
    assert_is_torchs(operation, sampling.FORWARD, 1e-11)


@pytest.mark.parametrize(
    "name",
    [
        "bilinear_zeros_False",
        "bilinear_reflection_True",
        "nearest_border_False",
        "bicubic_reflection_False",
        "volume_bilinear_border",
    ],
)
def test_every_nesting_is_exact(name):
    assert_exact(OPERATIONS[name], sampling.FORWARD)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smaller_dtypes_are_exact_to_their_rounding(dtype):
    assert_exact_in(dtype, OPERATIONS["bilinear_zeros_False"], sampling.FORWARD)


def test_an_image_of_one_row_is_its_row_everywhere():
    image, grid = torch.randn(1, 1, 1, 4), torch.rand(1, 3, 3, 2) * 4 - 2
    found = sampling.grid_sample(image, grid, "bilinear", "reflection", True)
    torch.testing.assert_close(found, F.grid_sample(image, grid, "bilinear", "reflection", True))


def test_unknown_modes_are_refused_in_words():
    image, volume = torch.ones(IMAGE), torch.ones(VOLUME)
    with pytest.raises(UserError, match="2 dimensions has no mode 'linear'"):
        sampling.grid_sample(image, torch.zeros(PLACES), "linear")
    with pytest.raises(UserError, match="3 dimensions has no mode 'bicubic'"):
        sampling.grid_sample(volume, torch.zeros(PLACES_3D), "bicubic")
    with pytest.raises(UserError, match="not 'circular'"):
        sampling.grid_sample(image, torch.zeros(PLACES), padding_mode="circular")
