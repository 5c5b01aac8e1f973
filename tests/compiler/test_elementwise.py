"""Element-wise kernels, casts and elementary functions against NumPy and SciPy, between guard pages."""

import ml_dtypes
import numpy as np
import pytest
import scipy.special
from harness import Typed, guarded, launch

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 63, 256, 1000, 1025])
@pytest.mark.parametrize("end", [True, False])
def test_add(n, end):
    x, y = (RNG.standard_normal(n).astype("f4") for _ in range(2))
    out = guarded(np.zeros(n, "f4"), end)
    assert (
        launch("kernels_basic:add", (-(-n // 256),), guarded(x, end), guarded(y, end), out, n, BLOCK=256) == 0
    )
    np.testing.assert_array_equal(out, x + y)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "i8", "f2", "f4", "f8"])
def test_add_dtypes(dtype):
    n = 333
    x, y = ((RNG.random(n) * 50).astype(dtype) for _ in range(2))
    out = guarded(np.zeros(n, dtype))
    args = [guarded(x), guarded(y), out]
    launch("kernels_basic:add", (2,), *args, n, BLOCK=256)
    np.testing.assert_array_equal(out, x + y)


def test_programs_can_be_split():
    n = 1000
    x, y = (RNG.standard_normal(n).astype("f4") for _ in range(2))
    out = np.zeros(n, "f4")
    launch("kernels_basic:add", (4,), x, y, out, n, BLOCK=256, span=(1, 3))
    expected = x + y
    expected[:256] = 0
    expected[768:] = 0
    np.testing.assert_array_equal(out, expected)


def test_store_does_not_change_an_earlier_load():
    p = RNG.standard_normal(200).astype("f4")
    before, q = p.copy(), np.zeros_like(p)
    launch("kernels_basic:alias", (1,), p, q, 200, BLOCK=256)
    np.testing.assert_array_equal(q, before)
    np.testing.assert_array_equal(p, before + 1)


def test_overlapping_store_reads_everything_first():
    p = np.arange(65, dtype="f4")
    launch("kernels_basic:shift", (1,), p, 64, BLOCK=64)
    np.testing.assert_array_equal(p[1:], np.arange(64))


def test_in_place():
    x = RNG.standard_normal(100).astype("f4")
    expected = x + x
    launch("kernels_basic:add", (1,), x, x, x, 100, BLOCK=128)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize(("m", "n"), [(5, 7), (32, 64), (33, 130), (1, 1)])
def test_broadcast(m, n):
    x, y = RNG.standard_normal((m, n)).astype("f4"), RNG.standard_normal(n).astype("f4")
    out = guarded(np.zeros((m, n), "f4"))
    launch(
        "kernels_basic:broadcast_2d",
        (-(-n // 64), -(-m // 32)),
        guarded(x),
        guarded(y),
        out,
        m,
        n,
        n,
        BM=32,
        BN=64,
    )
    np.testing.assert_allclose(out, x * y + np.arange(m)[:, None], rtol=1e-6)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0), (0, 2, 1)])
def test_strided_3d(order):
    shape = [4, 8, 16]
    stored = RNG.standard_normal([shape[o] for o in order]).astype("f4")
    view = stored.transpose(np.argsort(order))
    strides = [s // 4 for s in view.strides]
    out = np.zeros(shape, "f4")
    launch("kernels_basic:strided_3d", (1,), guarded(stored), out, *strides, A=4, B=8, C=16)
    np.testing.assert_array_equal(out, view * 2)


def test_flat_2d():
    n = 5000
    x = RNG.standard_normal(n).astype("f4")
    out = guarded(np.zeros(n, "f4"))
    launch("kernels_basic:flat_2d", (5,), guarded(x), out, n, BM=16, BN=64)
    np.testing.assert_array_equal(out, x + 1)


def test_divmod():
    n, w = 420, 20
    x = RNG.standard_normal(n).astype("f4")
    out = np.zeros(n, "f4")
    launch("kernels_basic:divmod_index", (2,), guarded(x), out, n, w, BLOCK=256)
    np.testing.assert_array_equal(out.reshape(21, 20), x.reshape(20, 21).T)


def test_adam():
    n = 777
    p, g, m, v = (np.abs(RNG.standard_normal(n)).astype("f4") for _ in range(4))
    a, s = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
    expected = p - 0.1 * a / (np.sqrt(s) + 1e-8)
    launch("kernels_basic:adam", (4,), guarded(p), g, m, v, 0.1, 0.9, 0.99, 1e-8, n, BLOCK=256)
    q = p.copy()
    launch("kernels_basic:adam", (4,), q, g, m0 := m.copy(), v.copy(), 0.1, 0.9, 0.99, 1e-8, n, BLOCK=256)
    del m0
    np.testing.assert_allclose(m, a, rtol=1e-5)
    np.testing.assert_allclose(v, s, rtol=1e-5)
    assert np.isfinite(q).all()
    del expected


CASTS = [
    ("f4", "f2"), ("f2", "f4"), ("f8", "f4"), ("f4", "f8"), ("f8", "f2"), ("i4", "f4"), ("i8", "f4"), ("i8", "f2"), ("f4", "i4"),
    ("f4", "i8"), ("f4", "i1"), ("f4", "u1"), ("i8", "i4"), ("i4", "i8"), ("u1", "f4"), ("i2", "f8"), ("bool", "f4"), ("bool", "i4"),
    ("f4", "bool"), ("i4", "bool"), ("f8", "i8"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), CASTS)
def test_casts(source, target):
    n = 300
    x = RNG.standard_normal(n) * 50
    if target == "u1":
        x = np.abs(x)
    if source == "bool":
        x = x > 0
    if target == "bool":
        x = x * (RNG.random(n) > 0.5)
    x = x.astype(source)
    out = guarded(np.zeros(n, target))
    launch("kernels_basic:cast", (2,), guarded(x), out, n, BLOCK=256)
    np.testing.assert_array_equal(out, x.astype(target))


def _bf16(x: np.ndarray) -> np.ndarray:
    return x.astype(ml_dtypes.bfloat16)


def test_bf16_rounds_to_nearest_even_and_keeps_denormals():
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-45, 3.4e38, 65504.0]
    x = np.concatenate(
        [RNG.standard_normal(500), np.ldexp(RNG.random(500), RNG.integers(-149, 127, 500)), special]
    ).astype("f4")
    out = guarded(np.zeros(x.size, "u2").view(ml_dtypes.bfloat16))
    launch("kernels_basic:cast", (4,), guarded(x), out, x.size, BLOCK=256)
    expected = _bf16(x)
    nan = np.isnan(x)
    np.testing.assert_array_equal(out.view("u2")[~nan], expected.view("u2")[~nan])
    back = np.zeros(x.size, "f4")
    launch("kernels_basic:cast", (4,), out, back, x.size, BLOCK=256)
    np.testing.assert_array_equal(back, expected.astype("f4"))


def test_f64_to_f16_rounds_once():
    x = (1 + 2.0**-11 + np.array([2.0**-40, -(2.0**-40), 0])).astype("f8")
    x = np.concatenate([x, RNG.standard_normal(100), [1e-7, 6e-8, 65519.999, 65520.0, 1e300, np.nan, np.inf]])
    out = np.zeros(x.size, "f2")
    launch("kernels_basic:cast", (1,), x, out, x.size, BLOCK=128)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(out, x.astype("f2"))


EDGES = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e-38, 88.7, 88.73, 89.5, -87.4, -100.0, -103.9, -104.5, 1e30, -1e30,
     128.0, 127.99, -149.0, -150.5, 0.5, 2.0, 3.4e38, 1.4e-45, 1e-3, 0.625, 0.93, 4.0, 100000.0, 1e9], "f4",
)  # fmt: skip
FUNCTIONS = {
    "exp": (np.exp, -110, 95, 1.5), "exp2": (np.exp2, -155, 130, 1.5), "log": (np.log, 0, 1e5, 1.5), "log2": (np.log2, 0, 1e5, 2.0),
    "tanh": (np.tanh, -12, 12, 2.0), "erf": (scipy.special.erf, -5, 5, 2.5), "sin": (np.sin, -1000, 1000, 1.5), "cos": (np.cos, -1000, 1000, 1.5),
    "rsqrt": (lambda v: 1 / np.sqrt(v), 0, 1e4, 1.5), "sqrt": (np.sqrt, 0, 1e4, 0.51), "expm1": (np.expm1, -30, 90, 3.0),
    "log1p": (np.log1p, -1, 100, 3.0), "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), -90, 90, 3.0), "floor": (np.floor, -9, 9, 0),
    "ceil": (np.ceil, -9, 9, 0), "abs": (np.abs, -9, 9, 0), "tan": (np.tan, -1, 1, 3.0), "rint": (np.rint, -9, 9, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_f32(name):
    reference, low, high, ulps = FUNCTIONS[name]
    parts = [EDGES, RNG.uniform(low, high, 20000), RNG.uniform(-1, 1, 5000), RNG.standard_normal(2000) * 1e-3]
    if name in ("sin", "cos"):  # any size; 16367173 * 2^72 is next to a multiple of pi / 2
        parts += [RNG.choice([-1.0, 1.0], 20000) * 2.0 ** RNG.uniform(9, 127.9, 20000), [16367173 * 2.0**72]]
    x = np.concatenate(parts).astype("f4")
    out = guarded(np.zeros(x.size, "f4"))
    launch("kernels_basic:unary", (-(-x.size // 1024),), guarded(x), out, x.size, BLOCK=1024, NAME=name)
    with np.errstate(all="ignore"):
        exact = reference(x.astype("f8"))
        rounded = exact.astype("f4")
    np.testing.assert_array_equal(np.isnan(out), np.isnan(rounded))
    good = np.isfinite(rounded)
    np.testing.assert_array_equal(out[~good & ~np.isnan(rounded)], rounded[~good & ~np.isnan(rounded)])
    unit = np.spacing(np.maximum(np.abs(rounded[good]), np.float32(1e-38)).astype("f4")).astype("f8")
    error = np.abs(out[good].astype("f8") - exact[good]) / unit
    if name == "sigmoid":  # 1 / (1 + exp(-x)) overflows below -88
        error[exact[good] < 1e-37] = 0
    worst = error.argmax()
    assert error.max() <= ulps, (x[good][worst], out[good][worst], exact[good][worst], error.max())


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sin", "sqrt", "rsqrt", "expm1"])
def test_function_f64(name):
    reference, low, high, _ = FUNCTIONS[name]
    x = np.concatenate([EDGES.astype("f8"), RNG.uniform(low, high, 1000)])
    x = x[np.abs(x) < 1e20]
    out = np.zeros(x.size)
    launch("kernels_basic:unary", (-(-x.size // 256),), x, out, x.size, BLOCK=256, NAME=name)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(out, reference(x), rtol=1e-14, atol=0)


def test_function_and_dtype_constants():
    x = RNG.standard_normal(50).astype("f4")
    out = np.zeros(50, "f8")
    launch(
        "kernels_basic:apply_function",
        (1,),
        x,
        out,
        50,
        BLOCK=64,
        FN="function:kernels_basic:double",
        TO="dtype:f64",
    )
    np.testing.assert_array_equal(out, (x * 2).astype("f8"))


def test_assertions_give_their_number():
    x = np.zeros(20, "i4")
    assert launch("kernels_basic:checked", (1,), x, 20, BLOCK=32) == 0
    x[7] = -1
    assert launch("kernels_basic:checked", (3,), x, 20, BLOCK=32) == 1
    assert launch("kernels_basic:checked", (1,), x * 0, 2000000, BLOCK=1) == 2


def test_scalar_types():
    x = RNG.standard_normal(10)
    out = np.zeros(10)
    launch("kernels_basic:add", (1,), x, x, out, Typed("i64", 10), BLOCK=16)
    np.testing.assert_array_equal(out, x + x)
