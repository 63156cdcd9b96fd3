"""An operation written another way gives the same numbers, and is taken where it is worth it."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from metaloop.meta_gradient.decompositions import (
    DECOMPOSITIONS,
    narrow_product,
    small_product,
    sum_in_memory_order,
)

torch.manual_seed(0)


def random(*shape: int, is_transposed: bool = False) -> torch.Tensor:
    if is_transposed:
        return random(*shape[:-2], shape[-1], shape[-2]).mT
    return torch.randn(shape, dtype=torch.float64)


def assert_same(found: object, expected: torch.Tensor) -> None:
    assert isinstance(found, torch.Tensor), "it was not written another way"
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_a_product_of_narrow_rows_is_taken_from_the_other_side(batch, transposed):
    a = random(*batch, 40, 12, is_transposed=transposed[0])
    b = random(*batch, 12, 10, is_transposed=transposed[1])
    assert_same(narrow_product(a, b), a @ b)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [(10, 40), (24, 24), (40, 16), (250, 40), (40, 1), (8, 5)],
    ids=["wide", "square", "a whole register", "broad rows", "a vector", "few rows"],
)
def test_every_other_product_stays(rows, columns):
    assert narrow_product(random(3, rows, 12), random(3, 12, columns)) is NotImplemented


@pytest.mark.parametrize("shapes", [((40, 1), (1, 40)), ((1, 40), (40, 30)), ((30, 40), (40, 1))])
def test_a_small_product_with_a_side_of_one_needs_no_library(shapes):
    a, b = (random(*shape) for shape in shapes)
    assert_same(small_product(a, b), a @ b)
    graph = make_fx(lambda a, b: a @ b, DECOMPOSITIONS)(a, b)
    assert not any("mm" in str(node.target) for node in graph.graph.nodes)


def test_a_large_product_with_a_side_of_one_is_the_librarys():
    assert small_product(random(1, 200), random(200, 200)) is NotImplemented


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dims", [[0], [-1], [0, 2], [1, 0], [0, 1, 2]])
def test_a_sum_over_a_transposed_tensor_reads_memory_in_order(dims, keepdim):
    x = random(3, 5, 4, is_transposed=True)
    assert_same(sum_in_memory_order(x, dims, keepdim), x.sum(dims, keepdim))
    graph = make_fx(lambda x: x.sum(dims, keepdim), DECOMPOSITIONS)(x)
    (summed,) = [n.args[0] for n in graph.graph.nodes if "sum" in str(n.target)]
    assert summed.meta["tensor_meta"].stride == (20, 5, 1)


def test_a_sum_over_a_tensor_in_order_stays():
    assert sum_in_memory_order(random(3, 5, 4), [0], False) is NotImplemented
    assert sum_in_memory_order(random(5, 4).expand(3, 5, 4), [0], False) is NotImplemented


def test_a_sum_keeps_its_type():
    x = random(5, 4, is_transposed=True).float()
    found = sum_in_memory_order(x, [0], dtype=torch.float64)
    assert found.dtype == torch.float64
    assert_same(found, x.sum(0, dtype=torch.float64))
