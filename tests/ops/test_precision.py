"""How products of f32 are computed: on tile registers where the processor has them, with what infinity and NaN mean."""

from __future__ import annotations

import numpy as np
import pytest

import openxpu
from openxpu.compiler import target
from openxpu.ops import conv, matmul, precision

TILES = {"amx-tile", "amx-bf16"} <= target.host().features


def test_large_products_of_f32_take_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENXPU_F32_DOT", raising=False)
    assert precision.of_products("f32", 256, 256) == ("bf16x6" if TILES else "ieee")
    assert {
        precision.of_products(*few) for few in (("f32", 2, 4096), ("f32", 64, 64), ("f64", 256, 256))
    } == {"ieee"}


def test_they_can_be_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_F32_DOT", "ieee")
    assert precision.of_products("f32", 256, 256) == "ieee"
    monkeypatch.setenv("OPENXPU_F32_DOT", "tf32")
    with pytest.raises(ValueError, match='OPENXPU_F32_DOT is "tf32"; give one of bf16x6, ieee'):
        precision.of_products("f32", 256, 256)


@pytest.mark.parametrize(("m", "n"), [(70, 200), (300, 130), (512, 512)])
@pytest.mark.parametrize("k", [1, 31, 300])
def test_products_are_those_of_f32(m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(m + k)
    a, b = (
        (rng.standard_normal(s) * 10 ** rng.uniform(-4, 4, s)).astype(np.float32) for s in ((m, k), (k, n))
    )
    found = matmul.matmul(openxpu.from_numpy(a), openxpu.from_numpy(b)).numpy()
    wide = a.astype(np.float64), b.astype(np.float64)
    terms = np.abs(wide[0]) @ np.abs(wide[1])
    assert (np.abs(found - wide[0] @ wide[1]) <= 2**-20 * terms).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinity_stays_where_it_belongs(value: float) -> None:
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-2, 3, s).astype(np.float32) for s in ((150, 400), (400, 140)))
    a[7, 390], b[10, 139] = value, -value
    with np.errstate(invalid="ignore"):
        expected = a @ b
    found = matmul.matmul(openxpu.from_numpy(a), openxpu.from_numpy(b)).numpy()
    np.testing.assert_array_equal(found, expected)


def test_convolutions_too() -> None:
    rng = np.random.default_rng(4)
    x, w = rng.integers(-3, 4, (2, 16, 14, 15)), rng.integers(-3, 4, (72, 16, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    x[1, 3, 5, 6] = np.inf
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    with np.errstate(invalid="ignore"):
        expected = np.einsum("nchwij,ocij->nohw", windows, w)
    found = conv.conv2d(openxpu.from_numpy(x), openxpu.from_numpy(w), padding=1).numpy()
    np.testing.assert_array_equal(found, expected)
