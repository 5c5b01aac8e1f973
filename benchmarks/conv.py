"""The convolutions of ResNet-50, MobileNetV3-large and PP-YOLO, forward and both gradients, in f32 and bf16, one and two threads.

Each distinct layer is one measurement; a network's row has the time of all its convolutions and, as the ratio, the
geometric mean over the distinct layers. `--layers` prints those too, `--only 3x3/2` takes the layers whose name has that."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from benchmarks import peers

KINDS = ("forward", "data gradient", "weight gradient")
DTYPES = ("f32", "bf16")


@dataclass(frozen=True)
class Layer:
    """A convolution with padding that keeps the size, but for the stride."""

    inputs: int
    outputs: int
    size: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def name(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        depth = "depthwise " if self.groups > 1 else ""
        return f"{depth}{self.kernel}x{self.kernel}{stride}, {self.inputs} to {self.outputs} at {self.size}"

    @property
    def flops(self) -> float:
        out = -(-self.size // self.stride)
        return 2.0 * out * out * self.outputs * self.inputs // self.groups * self.kernel**2


def resnet50() -> list[Layer]:
    layers = [Layer(3, 64, 224, 7, 2)]
    inputs, size = 64, 56
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            layers += [Layer(inputs, width, size, 1), Layer(width, width, size, 3, stride)]
            if block == 0:
                layers.append(Layer(inputs, 4 * width, size, 1, stride))
            size //= stride
            layers.append(Layer(width, 4 * width, size, 1))
            inputs = 4 * width
    return layers


def mobilenet_v3_large() -> list[Layer]:
    layers = [Layer(3, 16, 224, 3, 2)]
    inputs, size = 16, 112
    for kernel, width, outputs, squeezed, stride in (
        (3, 16, 16, 0, 1), (3, 64, 24, 0, 2), (3, 72, 24, 0, 1), (5, 72, 40, 24, 2), (5, 120, 40, 32, 1),
        (5, 120, 40, 32, 1), (3, 240, 80, 0, 2), (3, 200, 80, 0, 1), (3, 184, 80, 0, 1), (3, 184, 80, 0, 1),
        (3, 480, 112, 120, 1), (3, 672, 112, 168, 1), (5, 672, 160, 168, 2), (5, 960, 160, 240, 1), (5, 960, 160, 240, 1),
    ):  # fmt: skip
        if width != inputs:
            layers.append(Layer(inputs, width, size, 1))
        layers.append(Layer(width, width, size, kernel, stride, width))
        size //= stride
        if squeezed:
            layers += [Layer(width, squeezed, 1, 1), Layer(squeezed, width, 1, 1)]
        layers.append(Layer(width, outputs, size, 1))
        inputs = outputs
    return [*layers, Layer(160, 960, 7, 1)]


def pp_yolo() -> list[Layer]:
    """ResNet50-vd (the offsets of its deformable convolutions, not these themselves), neck and heads, at 320."""
    layers = [Layer(3, 32, 320, 3, 2), Layer(32, 32, 160, 3), Layer(32, 64, 160, 3)]
    inputs, size = 64, 80
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            layers.append(Layer(inputs, width, size, 1))
            layers.append(Layer(width, 27 if width == 512 else width, size, 3, stride))
            size //= stride
            layers.append(Layer(width, 4 * width, size, 1))
            if block == 0:
                layers.append(Layer(inputs, 4 * width, size, 1))
            inputs = 4 * width
    for width, inputs, size in ((512, 2048, 10), (256, 1280, 20), (128, 640, 40)):
        layers += [Layer(inputs + 2, width, size, 1), Layer(width, 2 * width, size, 3)]
        if width == 512:
            layers.append(Layer(4 * width, width, size, 1))  # after the pyramid of poolings
        layers += [Layer(2 * width + 2, width, size, 1), Layer(width, 2 * width, size, 3)]
        layers += [Layer(width + 2, 2 * width, size, 3), Layer(2 * width, 258, size, 1)]
        if width > 128:
            layers.append(Layer(width, width // 2, size, 1))
    return layers


NETWORKS = {"ResNet-50": resnet50, "MobileNetV3-large": mobilenet_v3_large, "PP-YOLO": pp_yolo}


def convolution(
    peer: str, batch: int, layer: dict[str, int], kind: str, dtype: str, repeat: int
) -> Callable[[], None]:
    """`repeat` times one convolution or one of its gradients."""
    c = Layer(**layer)
    stride, padding, out = c.stride, c.kernel // 2, -(-c.size // c.stride)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, c.inputs, c.size, c.size), np.float32)
    filters = rng.standard_normal((c.outputs, c.inputs // c.groups, c.kernel, c.kernel), np.float32)
    above = rng.standard_normal((batch, c.outputs, out, out), np.float32)
    arrays = (images, filters, above)
    if peer == peers.OURS:
        call = _ours(arrays, kind, dtype, stride, padding, c.groups)
    elif peer.startswith("torch"):
        call = _torch(arrays, kind, dtype, stride, padding, c.groups, peer == "torch channels-last")
    else:
        call = _paddle(arrays, kind, dtype, stride, padding, c.groups)

    def repeated() -> None:
        for _ in range(repeat):
            call()
        if peer == peers.OURS:
            import openxpu

            openxpu.synchronize()

    return repeated


def _ours(
    arrays: tuple[np.ndarray, ...], kind: str, dtype: str, stride: int, padding: int, groups: int
) -> Callable[[], Any]:
    import openxpu
    from openxpu.ops.conv import plan_conv, plan_conv_grad
    from openxpu.ops.creation import cast
    from openxpu.ops.run import run

    x, w, dy = (
        openxpu.from_numpy(a) if dtype == "f32" else cast(openxpu.from_numpy(a), dtype) for a in arrays
    )
    attributes = (stride, padding, 1, groups, "NCHW")
    if kind == "forward":
        return lambda: run(plan_conv, [x, w], [dy], *attributes)
    outputs = [x, None] if kind == "data gradient" else [None, w]
    return lambda: run(plan_conv_grad, [x, w, dy], outputs, *attributes)


def _torch(
    arrays: tuple[np.ndarray, ...],
    kind: str,
    dtype: str,
    stride: int,
    padding: int,
    groups: int,
    channels_last: bool,
) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_grad_enabled(False)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    to = torch.float32 if dtype == "f32" else torch.bfloat16
    x, w, dy = (torch.from_numpy(a).to(to, memory_format=layout) for a in arrays)
    if kind == "forward":
        return lambda: torch.nn.functional.conv2d(x, w, None, stride, padding, 1, groups)
    s, p, mask = [stride] * 2, [padding] * 2, [kind == "data gradient", kind == "weight gradient", False]
    backward = torch.ops.aten.convolution_backward
    return lambda: backward(dy, x, w, None, s, p, [1, 1], False, [0, 0], groups, mask)


def _paddle(
    arrays: tuple[np.ndarray, ...], kind: str, dtype: str, stride: int, padding: int, groups: int
) -> Callable[[], Any]:
    import paddle

    paddle.set_device("cpu")
    conv2d = paddle.nn.functional.conv2d
    tensors: list[Any] = [paddle.to_tensor(a) for a in arrays]
    x, w, dy = tensors if dtype == "f32" else [t.astype("bfloat16") for t in tensors]
    if kind == "forward":
        return lambda: conv2d(x, w, None, stride, padding, 1, groups)
    asked = x if kind == "data gradient" else w
    asked.stop_gradient = False
    y = conv2d(x, w, None, stride, padding, 1, groups)
    return lambda: paddle.grad([y], [asked], [dy], retain_graph=True)


def summed(rows: list[tuple[int, list[peers.Row]]]) -> list[peers.Row]:
    """One row for each peer: the time of all layers (with how often they occur), the mean ratio of the distinct ones."""
    found = []
    for i, first in enumerate(rows[0][1]):
        all_of = [(count, row[i]) for count, row in rows]
        if any(row.milliseconds is None for _, row in all_of):
            found.append(next(row for _, row in all_of if row.milliseconds is None))
            continue
        ratios = [row.against_ours for _, row in all_of if row.against_ours]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
        total = sum(count * (row.milliseconds or 0) for count, row in all_of)
        fastest = sum(count * (row.fastest or 0) for count, row in all_of)
        found.append(peers.Row(first.peer, total, fastest, against_ours=mean))
    return found


def measure(given: argparse.Namespace) -> dict[str, list[peers.Row]]:
    chosen = given.peers.split(",")
    works: dict[str, list[peers.Row]] = {}
    cache: dict[Any, list[peers.Row]] = {}
    for threads in (2,) if given.quick else map(int, given.threads.split(",")):
        running = {
            p: peers.Process(peers.PEERS[p], threads, True) for p in chosen if not peers.PEERS[p].missing
        }
        notes = {p: note for p in chosen if (note := peers.PEERS[p].missing)}
        try:
            for batch in (1,) if given.quick else map(int, given.batches.split(",")):
                for dtype in given.dtypes.split(","):
                    for kind in given.kinds.split(","):
                        for network in given.networks.split(","):
                            layers = Counter(NETWORKS[network]())
                            names = [layer for layer in layers if given.only in layer.name]
                            each = []
                            for layer in names[: 2 if given.quick else None]:
                                key = (threads, batch, dtype, kind, layer)
                                if key not in cache:
                                    work = batch * layer.flops / (1e11 * threads)
                                    repeat = max(1, min(50, round(given.sample / (work + 2e-5))))
                                    options = {"batch": batch, "layer": asdict(layer), "kind": kind, "dtype": dtype, "repeat": repeat}  # fmt: skip
                                    found = peers.in_turn(
                                        running, chosen, "benchmarks.conv:convolution", options,
                                        2 if given.quick else given.rounds, notes=notes,
                                        rest=0.002 if threads == 1 else None,  # one thread does not spin on
                                    )  # fmt: skip
                                    for row in found:
                                        if row.milliseconds is not None:
                                            row.milliseconds /= repeat
                                            row.fastest = (row.fastest or 0) / repeat
                                    cache[key] = found
                                each.append((layers[layer], cache[key]))
                                if given.layers:
                                    title = f"{layer.name}, batch {batch}, {kind}, {dtype}, {threads} threads"
                                    works[title] = cache[key]
                            if each:
                                title = f"Convolutions of {network}, batch {batch}, {kind}, {dtype}"
                                works[f"{title}, {threads} thread{'s' * (threads > 1)}"] = summed(each)
        finally:
            for process in running.values():
                process.close()
    return works


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="two layers of each network: does everything run?"
    )
    parser.add_argument("--peers", default=",".join(peers.PEERS))
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=float, default=0.01, help="seconds of work in one sample, about")
    parser.add_argument("--only", default="", help="a part of the names of the layers to measure")
    parser.add_argument("--layers", action="store_true", help="a row for each layer too")
    given = parser.parse_args()
    peers.emit("conv", measure(given), given.json)


if __name__ == "__main__":
    main()
