"""Part one of the demo: a small residual network that reads scikit-learn's scanned handwritten digits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

HELD_OUT = 360  # of 1,797 scans; the training never sees them
SPLIT_SEED = 20240607


@dataclass(frozen=True)
class Recipe:
    """How long and how fast the network learns. The quick recipe only shows that everything runs."""

    epochs: int = 10
    batch: int = 64
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    seed: int = 7

    @staticmethod
    def quick() -> Recipe:
        return Recipe(epochs=1)


# ---- data ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Digits:
    """Images are [n, 1, 8, 8] f32 of mean about 0; labels are [n] i64."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load_digits() -> Digits:
    """The 1,797 scans that ship inside scikit-learn, in one fixed split into training and held-out images."""
    from sklearn.datasets import load_digits as scans

    bunch = scans()
    images = (bunch.images.astype(np.float32)[:, None] / 16.0 - 0.3) / 0.38
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    test, train = order[:HELD_OUT], order[HELD_OUT:]
    return Digits(images[train], labels[train], images[test], labels[test])


def batches(data: Digits, recipe: Recipe, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One epoch in a fixed random order; each batch is moved by up to one pixel, to have more to learn."""
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(len(data.train_labels))
    padded = np.pad(
        data.train_images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=data.train_images.min()
    )
    for start in range(0, len(order) - recipe.batch + 1, recipe.batch):
        chosen = order[start : start + recipe.batch]
        dy, dx = rng.integers(0, 3, size=2)
        yield padded[chosen, :, dy : dy + 8, dx : dx + 8], data.train_labels[chosen]


# ---- model ---------------------------------------------------------------------------------------


class Block(nn.Layer):
    """Two 3x3 convolutions around a shortcut; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(inputs, outputs, 3, stride=stride, padding=1, bias_attr=False)
        self.norm1 = nn.BatchNorm2D(outputs)
        self.conv2 = nn.Conv2D(outputs, outputs, 3, padding=1, bias_attr=False)
        self.norm2 = nn.BatchNorm2D(outputs)
        self.shortcut: nn.Layer | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2D(inputs, outputs, 1, stride=stride, bias_attr=False), nn.BatchNorm2D(outputs)
            )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class SmallResNet(nn.Layer):
    """[n, 1, 8, 8] -> [n, 10]: a stem, three residual blocks, average pooling and one linear layer."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2D(1, width, 3, padding=1, bias_attr=False), nn.BatchNorm2D(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            Block(width, width, 1),
            Block(width, 2 * width, 2),
            Block(2 * width, 4 * width, 2),
        )
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.head = nn.Linear(4 * width, 10)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.pool(self.stages(self.stem(x)))
        return self.head(paddle.flatten(x, 1))


def set_initial_weights(model: nn.Layer, seed: int) -> None:
    """Draws the weights with NumPy: every device starts from the same ones, whatever its own generator."""
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        shape = tuple(parameter.shape)
        if len(shape) == 4:
            spread = np.sqrt(2.0 / (shape[1] * shape[2] * shape[3]))
        elif len(shape) == 2:
            spread = np.sqrt(1.0 / shape[0])
        else:
            continue  # biases start at zero and scales at one, as Paddle makes them
        parameter.set_value(rng.normal(0.0, spread, shape).astype(np.float32))


# ---- training ------------------------------------------------------------------------------------


@dataclass
class Trained:
    """What one training run leaves behind. Times are wall-clock seconds on a synchronised device."""

    model: nn.Layer
    losses: list[float]
    accuracy: float
    warm_up_seconds: float
    train_seconds: float
    images_per_second: float


def build(recipe: Recipe) -> tuple[nn.Layer, paddle.optimizer.Optimizer, Any]:
    model = SmallResNet()
    set_initial_weights(model, recipe.seed)
    steps = recipe.epochs * ((1797 - HELD_OUT) // recipe.batch)
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(recipe.learning_rate, T_max=steps)
    optimizer = paddle.optimizer.Momentum(
        learning_rate=schedule,
        momentum=0.9,
        parameters=model.parameters(),
        weight_decay=recipe.weight_decay,
        use_nesterov=True,
        grad_clip=nn.ClipGradByGlobalNorm(5.0),
    )
    return model, optimizer, schedule


def train_step(
    model: nn.Layer, optimizer: paddle.optimizer.Optimizer, images: np.ndarray, labels: np.ndarray
) -> paddle.Tensor:
    loss = F.cross_entropy(model(paddle.to_tensor(images)), paddle.to_tensor(labels))
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return loss


def logits(model: nn.Layer, images: np.ndarray) -> np.ndarray:
    """The model's answers in evaluation mode, [n, 10]."""
    model.eval()
    with paddle.no_grad():
        answer = model(paddle.to_tensor(images)).numpy()
    model.train()
    return np.asarray(answer)


def train(
    data: Digits, recipe: Recipe, progress: Callable[[int, int, float], None], warm_up_steps: int = 2
) -> Trained:
    """Trains on the current Paddle device. `progress` hears (step, steps, loss) after every step.

    A few steps with a throw-away copy come first and are timed apart: there the card compiles its kernels and
    the CPU device makes its own preparations.
    """
    start = time.perf_counter()
    model, optimizer, _ = build(recipe)
    for step, (images, labels) in enumerate(batches(data, recipe, 0)):
        if step == warm_up_steps:
            break
        float(train_step(model, optimizer, images, labels).item())
    logits(model, data.test_images)
    warm_up_seconds = time.perf_counter() - start

    model, optimizer, schedule = build(recipe)
    steps = recipe.epochs * (len(data.train_labels) // recipe.batch)
    losses: list[float] = []
    start = time.perf_counter()
    for epoch in range(recipe.epochs):
        for images, labels in batches(data, recipe, epoch):
            loss = train_step(model, optimizer, images, labels)
            schedule.step()
            losses.append(float(loss.item()))
            progress(len(losses), steps, losses[-1])
    train_seconds = time.perf_counter() - start
    accuracy = float((logits(model, data.test_images).argmax(1) == data.test_labels).mean())
    return Trained(
        model, losses, accuracy, warm_up_seconds, train_seconds, steps * recipe.batch / train_seconds
    )


# ---- export and service --------------------------------------------------------------------------


def export(model: nn.Layer, folder: Path) -> Path:
    """Writes the trained network with paddle.jit.save and returns the path without its suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "digits"
    model.eval()
    spec = paddle.static.InputSpec([None, 1, 8, 8], "float32", "image")
    paddle.jit.save(paddle.jit.to_static(model, input_spec=[spec]), str(path))
    return path


def serve(path: Path, device: str, images: np.ndarray) -> np.ndarray:
    """Loads the exported network into Paddle Inference on `device` ("xpu" or "cpu") and shows it `images`."""
    from paddle import inference

    program = path.with_suffix(".json")
    if not program.exists():  # the older program format, still written when PIR is switched off
        program = path.with_suffix(".pdmodel")
    config = inference.Config(str(program), str(path.with_suffix(".pdiparams")))
    config.disable_glog_info()
    if device == "cpu":
        config.disable_gpu()
    else:
        config.enable_custom_device(device, 0)
    predictor = inference.create_predictor(config)
    entry = predictor.get_input_handle(predictor.get_input_names()[0])
    entry.copy_from_cpu(np.ascontiguousarray(images))
    predictor.run()
    return np.asarray(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
