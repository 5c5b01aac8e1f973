"""What one small eager operator costs on the calling thread: c = a + b of 16 elements."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks import peers

CALLS = 500


def small_add(peer: str, gradients: bool) -> Callable[[], float]:
    """Seconds per call over 500 calls. The card is synchronised outside the timed stretch."""
    left, right = np.ones(16, np.float32), np.ones(16, np.float32)
    if peer.startswith("torch"):
        import torch

        torch.set_num_threads(peers.THREADS)
        x, y = torch.from_numpy(left), torch.from_numpy(right)
        x.requires_grad_(gradients)

        def torch_calls() -> float:
            start = time.perf_counter()
            for _ in range(CALLS):
                x + y
            return (time.perf_counter() - start) / CALLS

        return torch_calls

    import paddle

    device = "xpu" if peer == peers.OURS else "cpu"
    paddle.set_device(device)
    a, b = paddle.to_tensor(left), paddle.to_tensor(right)
    a.stop_gradient = not gradients

    def paddle_calls() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            a + b
        seconds = (time.perf_counter() - start) / CALLS
        if device != "cpu":
            paddle.device.synchronize(device)
        return seconds

    return paddle_calls


def measure(chosen: list[str], quick: bool) -> dict[str, list[peers.Row]]:
    flat = [peer for peer in chosen if peer not in ("torch channels-last", "paddle*")]
    rounds, calls = (3, 3) if quick else (15, 20)
    work = "benchmarks.eager_overhead:small_add"
    return {
        "Eager add of 16 elements": peers.compare(work, flat, {"gradients": False}, rounds, calls),
        "Eager add of 16 elements, recording gradients": peers.compare(
            work, flat, {"gradients": True}, rounds, calls
        ),
    }


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    works = measure(given.peers.split(","), given.quick)
    peers.emit("eager_overhead", works, given.json, unit="us", scale=1e3)
