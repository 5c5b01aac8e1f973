"""Square matrix products in f32 and bf16, forward only, on OpenXPU, Paddle's CPU device and torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks import peers


def product(peer: str, size: int, dtype: str, repeat: int) -> Callable[[], None]:
    """`repeat` products of two [size, size] matrices that lie on the device, then the wait for the last."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((size, size), np.float32) for _ in range(2))
    if peer.startswith("torch"):
        import torch

        torch.set_num_threads(peers.THREADS)
        kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[dtype]
        x, y = (torch.from_numpy(t).to(kind) for t in (a, b))

        def torch_call() -> None:
            for _ in range(repeat):
                torch.mm(x, y)

        return torch_call

    import paddle

    paddle.set_device("xpu" if peer == peers.OURS else "cpu")
    left, right = (paddle.to_tensor(t).astype(dtype) for t in (a, b))

    def paddle_call() -> None:
        for _ in range(repeat):
            paddle.matmul(left, right)
        if peer == peers.OURS:
            paddle.device.synchronize("xpu")

    return paddle_call


def measure(chosen: list[str], quick: bool) -> dict[str, list[peers.Row]]:
    chosen = [name for name in chosen if name != "torch channels-last"]  # a matrix has no channels
    sizes = {64: 2} if quick else {512: 16, 1024: 4, 2048: 1}
    works = {}
    for dtype, short in (("float32", "f32"), ("bfloat16", "bf16")):
        for size, repeat in sizes.items():
            # Paddle's CPU device has no fast bf16 product: minutes for 2048.
            names = chosen if short == "f32" else [n for n in chosen if not n.startswith("paddle")]
            options = {"size": size, "dtype": dtype, "repeat": repeat}
            rows = peers.compare("benchmarks.matmul:product", names, options, rounds=2 if quick else 9)
            for row in rows:
                if row.milliseconds is not None and row.fastest is not None:
                    row.milliseconds, row.fastest = row.milliseconds / repeat, row.fastest / repeat
            works[f"Matrix product {size} {short}"] = rows
    return works


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    peers.emit("matmul", measure(given.peers.split(","), given.quick), given.json)
