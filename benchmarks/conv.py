"""The convolutions of ResNet-18 and a depthwise one in f32, forward and backward, on OpenXPU, Paddle and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers

# name: (channels in, channels out, input height and width, kernel, stride, padding, groups)
LAYERS = {
    "stem 7x7/2, 3 to 64 at 224": (3, 64, 224, 7, 2, 3, 1),
    "3x3, 64 at 56": (64, 64, 56, 3, 1, 1, 1),
    "3x3/2, 64 to 128 at 56": (64, 128, 56, 3, 2, 1, 1),
    "3x3, 128 at 28": (128, 128, 28, 3, 1, 1, 1),
    "3x3, 256 at 14": (256, 256, 14, 3, 1, 1, 1),
    "3x3, 512 at 7": (512, 512, 7, 3, 1, 1, 1),
    "1x1, 256 at 14": (256, 256, 14, 1, 1, 0, 1),
    "depthwise 3x3, 256 at 14": (256, 256, 14, 3, 1, 1, 256),
}


def convolution(peer: str, batch: int, layer: list[int], backward: bool) -> Callable[[], None]:
    """One convolution; with `backward` also the gradients of its input and its weight."""
    inputs, outputs, size, kernel, stride, padding, groups = layer
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, inputs, size, size), np.float32)
    filters = rng.standard_normal((outputs, inputs // groups, kernel, kernel), np.float32)
    if peer.startswith("torch"):
        import torch

        torch.set_num_threads(peers.THREADS)
        x, w = torch.from_numpy(images), torch.from_numpy(filters)
        if peer == "torch channels-last":
            x, w = (t.to(memory_format=torch.channels_last) for t in (x, w))
        x.requires_grad_(backward)
        w.requires_grad_(backward)

        def torch_call() -> None:
            y = torch.nn.functional.conv2d(x, w, None, stride, padding, 1, groups)
            if backward:
                torch.autograd.grad(y, (x, w), torch.ones_like(y))

        return torch_call

    import paddle

    paddle.set_device("xpu" if peer == peers.OURS else "cpu")
    xs: Any = paddle.to_tensor(images, stop_gradient=not backward)
    ws: Any = paddle.to_tensor(filters, stop_gradient=not backward)

    def paddle_call() -> None:
        y = paddle.nn.functional.conv2d(xs, ws, None, stride, padding, 1, groups)
        if backward:
            paddle.grad([y], [xs, ws], [paddle.ones_like(y)])
        if peer == peers.OURS:
            paddle.device.synchronize("xpu")

    return paddle_call


def measure(chosen: list[str], quick: bool) -> dict[str, list[peers.Row]]:
    batch = 1 if quick else 8
    works = {}
    for name, layer in list(LAYERS.items())[: 2 if quick else None]:
        for backward in (False, True):
            options = {"batch": batch, "layer": list(layer), "backward": backward}
            title = f"Convolution {name}, batch {batch}, {'with gradients' if backward else 'forward'}"
            works[title] = peers.compare(
                "benchmarks.conv:convolution", chosen, options, 2 if quick else 7, calls=1 if quick else 3
            )
    return works


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    peers.emit("conv", measure(given.peers.split(","), given.quick), given.json)
