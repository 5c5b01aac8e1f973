"""triton.autotune: choosing among configurations, keys, pruning, and kernels that change what they read."""

import numpy as np
import pytest
import triton
import triton.language as tl

import openxpu
from openxpu.triton import numpy_argument


def make(**options):
    @triton.autotune(
        configs=[triton.Config({"BLOCK": block}, num_warps=w) for block in (64, 256) for w in (1, 4)],
        key=["n"],
        **options,
    )
    @triton.jit
    def increment_kernel(x, n, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(x + i, tl.load(x + i, mask=i < n) + 1, mask=i < n)

    return increment_kernel


def grid(n):
    return lambda meta: (triton.cdiv(n, meta["BLOCK"]),)


def arrays(kind, values, paddle=None):
    if kind == "array":
        return openxpu.from_numpy(values)
    if kind == "numpy":
        return numpy_argument(values.copy())
    return paddle.to_tensor(values)


def values_of(argument):
    return argument.array if hasattr(argument, "array") else argument.numpy()


def test_a_new_key_tunes_again():
    kernel = make()
    for n in (100, 1000):
        x = openxpu.zeros(n)
        kernel[grid(n)](x, n)
        assert (x.numpy() == x.numpy()[0]).all()
        before = x.numpy()[0]
        kernel[grid(n)](x, n)
        assert (x.numpy() == before + 1).all()
    assert len(kernel.cache) == 2
    assert set(kernel.configs_timings) == set(kernel.configs)


@pytest.mark.parametrize("kind", ["array", "numpy"])
def test_restored(kind):
    x = arrays(kind, np.arange(500, dtype="f4"))
    make(restore_value=["x"])[grid(500)](x, 500)
    np.testing.assert_array_equal(values_of(x), np.arange(500) + 1)


@pytest.mark.parametrize("kind", ["array", "numpy", "paddle"])
def test_reset(kind, request):
    paddle = request.getfixturevalue("paddle_xpu") if kind == "paddle" else None
    x = arrays(kind, np.arange(500, dtype="f4"), paddle)
    kernel = make(reset_to_zero=["x"])
    kernel[grid(500)](x, 500)
    np.testing.assert_array_equal(values_of(x), np.ones(500))


def test_pruned():
    kernel = make(prune_configs_by={"early_config_prune": lambda configs, named, **kwargs: configs[-1:]})
    x = openxpu.zeros(70)
    kernel[grid(70)](x, 70)
    assert kernel.best_config.kwargs == {"BLOCK": 256}
    assert (x.numpy() == 1).all()


def test_warps_and_stages_share_one_compilation(monkeypatch):
    from openxpu.compiler import compile as pipeline

    compiled = []
    original = pipeline.compile_text
    monkeypatch.setattr(
        pipeline,
        "compile_text",
        lambda name, text, target: compiled.append(text) or original(name, text, target),
    )

    @triton.jit
    def lonely_kernel(x, SALT: tl.constexpr, BLOCK: tl.constexpr):
        tl.store(x + tl.arange(0, BLOCK), SALT)

    salt = int(np.random.default_rng().integers(1 << 30))
    x = openxpu.zeros(64, "i32")
    for warps in (1, 2, 4, 8):
        lonely_kernel[(1,)](x, SALT=salt, BLOCK=64, num_warps=warps, num_stages=warps)
    assert len(compiled) == 1
    assert (x.numpy() == salt).all()
