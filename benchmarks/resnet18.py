"""ResNet-18 in f32: a training step and eager inference, on OpenXPU, Paddle's CPU device and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import peers


def pictures(batch: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 3, size, size), np.float32), rng.integers(0, 1000, batch)


def torch_resnet18() -> Any:
    """The same network as paddle.vision.models.resnet18, written by hand: torchvision is not needed."""
    from torch import Tensor, nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample: nn.Module | None = None
            if stride != 1 or inputs != outputs:
                shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

        def forward(self, x: Tensor) -> Tensor:
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += x if self.downsample is None else self.downsample(x)
            result: Tensor = self.relu(y)
            return result

    stages: list[nn.Module] = []
    for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        stages += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
    stem = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    return nn.Sequential(
        *(stem, nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)),
        *stages,
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)),
    )


def training_step(peer: str, batch: int, size: int) -> Callable[[], None]:
    """Forward, cross-entropy, backward and one Momentum step; the loss is read at the end."""
    images, labels = pictures(batch, size)
    if peer.startswith("torch"):
        import torch

        torch.set_num_threads(peers.THREADS)
        model = torch_resnet18()
        x, y = torch.from_numpy(images), torch.from_numpy(labels)
        if peer == "torch channels-last":
            model = model.to(memory_format=torch.channels_last)
            x = x.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

        def torch_step() -> None:
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            loss.item()

        return torch_step

    import paddle

    paddle.set_device("xpu" if peer == peers.OURS else "cpu")
    network = paddle.vision.models.resnet18()
    momentum = paddle.optimizer.Momentum(0.01, 0.9, parameters=network.parameters(), weight_decay=1e-4)
    inputs, targets = paddle.to_tensor(images), paddle.to_tensor(labels)

    def paddle_step() -> None:
        loss = paddle.nn.functional.cross_entropy(network(inputs), targets)
        loss.backward()
        momentum.step()
        momentum.clear_grad()
        loss.item()

    return paddle_step


def inference(peer: str, batch: int, size: int) -> Callable[[], None]:
    """Eager inference; the answers are fetched to the host."""
    images, _ = pictures(batch, size)
    if peer.startswith("torch"):
        import torch

        torch.set_num_threads(peers.THREADS)
        model, x = torch_resnet18().eval(), torch.from_numpy(images)
        if peer == "torch channels-last":
            model = model.to(memory_format=torch.channels_last)
            x = x.to(memory_format=torch.channels_last)

        def torch_call() -> None:
            with torch.inference_mode():
                model(x).numpy()

        return torch_call

    import paddle

    paddle.set_device("xpu" if peer == peers.OURS else "cpu")
    network = paddle.vision.models.resnet18()
    network.eval()
    inputs = paddle.to_tensor(images)

    def paddle_call() -> None:
        with paddle.no_grad():
            network(inputs).numpy()

    return paddle_call


def measure(chosen: list[str], quick: bool) -> dict[str, list[peers.Row]]:
    options = {"batch": 2, "size": 64} if quick else {"batch": 8, "size": 224}
    title = f"batch {options['batch']} at {options['size']}, f32"
    rounds = 2 if quick else 7
    return {
        f"ResNet-18 training step, {title}": peers.compare(
            "benchmarks.resnet18:training_step", chosen, options, rounds
        ),
        f"ResNet-18 eager inference, {title}": peers.compare(
            "benchmarks.resnet18:inference", chosen, options, rounds, calls=3
        ),
    }


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    peers.emit("resnet18", measure(given.peers.split(","), given.quick), given.json)
