"""The fast path keeps Triton's promises: hooks run, changed globals are refused, other drivers take over."""

import pytest
import triton
import triton.language as tl
from triton import knobs

import openxpu

FACTOR = tl.constexpr(3)


@triton.jit
def scale_kernel(x, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i) * FACTOR)


def launch():
    x = openxpu.zeros(16)
    return scale_kernel[(1,)](x, BLOCK=16)


def test_launch_hooks():
    names = []
    for _ in range(3):
        launch()

    def hook(metadata):
        names.append(metadata.get()["name"])

    knobs.runtime.launch_enter_hook.add(hook)
    try:
        launch()
        launch()
    finally:
        knobs.runtime.launch_enter_hook.remove(hook)
    launch()
    assert names == ["scale_kernel"] * 2


def test_pre_run_hooks():
    seen = []
    for _ in range(3):
        launch()
    scale_kernel.add_pre_run_hook(lambda *args, **kwargs: seen.append(kwargs["BLOCK"]))
    try:
        launch()
    finally:
        scale_kernel.pre_run_hooks.clear()
    launch()
    assert seen == [16]


def test_changed_globals():
    global FACTOR  # noqa: PLW0603 - what is tested
    for _ in range(3):
        launch()
    FACTOR = tl.constexpr(4)
    try:
        with pytest.raises(RuntimeError, match="Global variable FACTOR has changed"):
            launch()
    finally:
        FACTOR = tl.constexpr(3)
    launch()


def test_another_driver():
    launch()
    launch()

    class Other:
        def get_current_device(self):
            raise LookupError("another driver was asked")

    try:
        triton.runtime.driver.set_active(Other())
        with pytest.raises(LookupError, match="another driver"):
            launch()
    finally:
        triton.runtime.driver.reset_active()
    launch()


def test_the_same_kernel_object():
    first = launch()
    assert launch() is first
    assert launch() is first
    assert {"ttir", "oxk"} <= set(first.asm)
    assert "tt.load" in first.asm["ttir"]
    assert first.metadata.target.backend == "openxpu"
