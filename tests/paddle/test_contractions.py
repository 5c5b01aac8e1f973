# einsum, kron, cross, chains and bilinear forms on the card against Paddle's CPU kernels.

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from against_cpu import agree
from compared import device

FLOATS = ["float32", "float64", "float16", "bfloat16"]


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape)


EQUATIONS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(5, 7), (7, 3)]),
    ("ij,kj->ki", [(5, 7), (3, 7)]),
    ("bij,bjk->bik", [(3, 5, 7), (3, 7, 2)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 9, 4), (2, 3, 5, 4)]),
    ("bqhd,bkhd->bhqk", [(2, 9, 3, 4), (2, 5, 3, 4)]),
    ("bhqk,bkhd->bqhd", [(2, 3, 9, 5), (2, 5, 3, 4)]),
    ("...ij,...jk->...ik", [(2, 3, 5, 7), (3, 7, 2)]),
    ("i,i->", [(70,), (70,)]),
    ("i,j->ij", [(4,), (5,)]),
    ("ij,ij->i", [(6, 40), (6, 40)]),
    ("ij,ij->ij", [(6, 4), (6, 4)]),
    ("ij->ji", [(6, 4)]),
    ("ij->j", [(6, 4)]),
    ("ij->", [(6, 4)]),
    ("...->...", [(2, 3)]),
    ("bij,kj->kib", [(2, 3, 4), (5, 4)]),
    ("abcd,cbe->ade", [(2, 3, 4, 5), (4, 3, 2)]),
    ("ijk,k->ij", [(2, 3, 4), (4,)]),
    ("blqd,bmd->blqm", [(2, 3, 4, 5), (2, 6, 5)]),
    ("ij,jk,kl->il", [(3, 4), (4, 5), (5, 6)]),
    ("bn,anm,bm->ba", [(2, 3), (4, 3, 5), (2, 5)]),
    ("nct,ncp->ntp", [(2, 8, 5), (2, 8, 6)]),
    ("ijk,jkl,klm->ilm", [(2, 3, 4), (3, 4, 5), (4, 5, 6)]),
]


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS, ids=[e for e, _ in EQUATIONS])
def test_einsum(equation: str, shapes: Any) -> None:
    arrays = [numbers(*shape) for shape in shapes]
    for dtype in ("float32", "float64"):
        agree(lambda *x: paddle.einsum(equation, *x), *arrays, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_einsum_of_16_bits(dtype: str) -> None:
    agree(lambda x, y: paddle.einsum("bij,bkj->bki", x, y), numbers(2, 5, 7), numbers(2, 3, 7), dtype=dtype)


@pytest.mark.parametrize("equation", ["ii->i", "ii->", "bii->bi", "iij,jk->ik"])
def test_einsum_takes_diagonals(equation: str) -> None:
    first = equation.split(",", maxsplit=1)[0].split("-", maxsplit=1)[0]
    arrays = [numbers(*(4 if c == "i" else 3 for c in first))] + ([numbers(3, 5)] if "," in equation else [])
    tensors = [paddle.to_tensor(a) for a in arrays]
    for t in tensors:
        t.stop_gradient = False
    out = paddle.einsum(equation, *tensors)
    want = np.einsum(equation, *arrays)
    np.testing.assert_allclose(out.numpy(), want, rtol=1e-12)
    out.sum().backward()
    for i, t in enumerate(tensors):
        change = np.random.default_rng(0).standard_normal(t.shape)
        moved = [a + (change if k == i else 0) for k, a in enumerate(arrays)]  # linear in each operand
        assert np.isclose((t.grad.numpy() * change).sum(), np.einsum(equation, *moved).sum() - want.sum())


@pytest.mark.parametrize(
    "shapes", [[(2, 3), (4, 5)], [(3,), (2, 4)], [(2, 3, 2), (3, 2)], [(2, 3), (2, 1, 3)]]
)
def test_kron(shapes: Any) -> None:
    for dtype in FLOATS:
        agree(paddle.kron, *(numbers(*shape) for shape in shapes), dtype=dtype)


def test_kron_of_integers() -> None:
    agree(paddle.kron, np.arange(6).reshape(2, 3), np.arange(4).reshape(2, 2), gradients=False)


@pytest.mark.parametrize(("shape", "axis"), [((3, 5), None), ((5, 3), 1), ((2, 3, 70), 1), ((70, 3), -1)])
def test_cross(shape: Any, axis: Any) -> None:
    arguments = {} if axis is None else {"axis": axis}
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(shape), rng.standard_normal(shape)
    for dtype in FLOATS:
        agree(lambda x, y: paddle.cross(x, y, **arguments), x, y, dtype=dtype)
    agree(
        lambda x, y: paddle.cross(x, y, **arguments),
        (x * 9).astype("i4"),
        (y * 9).astype("i4"),
        gradients=False,
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("addend", [(3, 5, 4), (1, 5, 4), (3, 1, 4), (1, 1, 4), (5, 4)], ids=str)
def test_baddbmm(addend: Any, dtype: str) -> None:
    agree(
        lambda a, x, y: paddle.baddbmm(a, x, y, beta=0.5, alpha=2.0),
        numbers(*addend), numbers(3, 5, 7), numbers(3, 7, 4), dtype=dtype,
    )  # fmt: skip


@pytest.mark.parametrize(
    "shapes",
    [[(3, 4), (4, 5)], [(3, 4), (4, 5), (5, 6), (6, 2)], [(4,), (4, 5), (5, 6)], [(4,), (4, 5), (5,)]],
)
def test_multi_dot(shapes: Any) -> None:
    for dtype in FLOATS:
        agree(lambda *x: paddle.linalg.multi_dot(list(x)), *(numbers(*s) for s in shapes), dtype=dtype)


def test_bilinear() -> None:
    arrays = [numbers(6, 5), numbers(6, 4), numbers(7, 5, 4), numbers(1, 7)]
    for dtype in FLOATS:
        agree(paddle.nn.functional.bilinear, *arrays, dtype=dtype)
        agree(paddle.nn.functional.bilinear, *arrays[:3], dtype=dtype)


def test_wrong_equations_are_refused() -> None:
    with pytest.raises(Exception):  # noqa: B017 - Paddle's own check, whatever it raises
        paddle.einsum("ij,jk->ik", paddle.rand([2, 3]), paddle.rand([4, 5]))
    with device("cpu"), pytest.raises(Exception):  # noqa: B017
        paddle.einsum("ij,jk->ik", paddle.rand([2, 3]), paddle.rand([4, 5]))
