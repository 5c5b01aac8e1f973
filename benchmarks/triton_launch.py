"""What one kernel[grid](...) costs on the calling thread, after the first: an add of 1000 elements by one program.

Alternating rounds of all ways in one process; the card is synchronised between the timed stretches, except where the
launch itself waits for the card (host memory)."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import triton
import triton.language as tl

import openxpu
import openxpu.triton
from benchmarks import peers

CALLS = 200
SIZE = 1000
ASYNCHRONOUS = "Launch of a Triton kernel, asynchronous"
WAITING = "Launch of a Triton kernel on host memory, which waits for its end"
GENERIC = "Triton's own JITFunction.run, for comparison"


@triton.jit
def add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    tl.store(out_ptr + i, tl.load(x_ptr + i, mask=mask) + tl.load(y_ptr + i, mask=mask), mask=mask)


tuned_kernel = triton.autotune([triton.Config({"BLOCK": 1024}), triton.Config({"BLOCK": 512})], key=["n"])(
    add_kernel
)


def ways() -> dict[str, dict[str, Callable[[], Any]]]:
    """The calls to time, by the table that they belong to."""
    openxpu.triton.register()
    values = np.ones(SIZE, np.float32)
    x, y, out = (openxpu.from_numpy(values) for _ in range(3))
    a, b, c = (openxpu.triton.numpy_argument(values.copy()) for _ in range(3))
    asynchronous: dict[str, Callable[[], Any]] = {
        "card arrays": lambda: add_kernel[(1,)](x, y, out, SIZE, BLOCK=1024),
        "card arrays, grid=f": lambda: add_kernel[lambda meta: (triton.cdiv(SIZE, meta["BLOCK"]),)](
            x, y, out, SIZE, BLOCK=1024, num_warps=4
        ),
        "card arrays, autotune": lambda: tuned_kernel[(2,)](x, y, out, SIZE),
    }
    waiting: dict[str, Callable[[], Any]] = {
        "NumPy arrays": lambda: add_kernel[(1,)](a, b, c, SIZE, BLOCK=1024)
    }
    if importlib.util.find_spec("torch"):
        import torch

        t, u, v = (torch.ones(SIZE) for _ in range(3))
        waiting["torch tensors"] = lambda: add_kernel[(1,)](t, u, v, SIZE, BLOCK=1024)
    import paddle

    if "xpu" in paddle.device.get_all_custom_device_type():
        paddle.set_device("xpu")
        p, q, r = (paddle.to_tensor(values) for _ in range(3))
        asynchronous["Paddle tensors"] = lambda: add_kernel[(1,)](p, q, r, SIZE, BLOCK=1024)
    own_run = triton.runtime.JITFunction.run
    generic: dict[str, Callable[[], Any]] = {
        "card arrays": lambda: own_run(add_kernel, x, y, out, SIZE, BLOCK=1024, grid=(1,), warmup=False)
    }
    return {ASYNCHRONOUS: asynchronous, WAITING: waiting, GENERIC: generic}


def stretch(call: Callable[[], Any]) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    seconds = (time.perf_counter() - start) / CALLS
    openxpu.synchronize()
    return seconds


def measure(quick: bool) -> dict[str, list[peers.Row]]:
    calls = {(title, name): call for title, found in ways().items() for name, call in found.items()}
    first: dict[tuple[str, str], float] = {}
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for key, call in calls.items():
        start = time.perf_counter()
        call()
        first[key] = time.perf_counter() - start
        for _ in range(3):
            stretch(call)
    for turn in range(3 if quick else 40):
        for key in calls if turn % 2 == 0 else reversed(calls):
            samples[key].append(stretch(calls[key]))
    works: dict[str, list[peers.Row]] = {}
    for (title, name), taken in samples.items():
        row = peers.Row(name, 1e3 * statistics.median(taken), 1e3 * min(taken), 1e3 * first[title, name])
        works.setdefault(title, []).append(row)
    return works


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    peers.emit("triton_launch", measure(given.quick), given.json, unit="us", scale=1e3)
