"""Every family of paddle.vision.models, a CRNN with CTC and a detector with deformable attention: five steps of training with
the losses of Paddle's CPU device, and nothing falls back."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from training import device, initial_weights, pictures

import openxpu.paddle

STEPS = 5
Make = Callable[[], paddle.nn.Layer]
Loss = Callable[[paddle.nn.Layer, Any], Any]


def still(make: Make) -> Make:
    """The same model without dropout, whose masks differ from device to device."""

    def build() -> paddle.nn.Layer:
        model = make()
        for layer in model.sublayers():
            if "Dropout" in type(layer).__name__:
                layer.p = 0.0
        return model

    return build


def losses(
    where: str, make: Make, weights: dict[str, np.ndarray], batches: list[Any], loss_of: Loss, dtype: str
) -> list[float]:
    with device(where):
        # Not by Layer.to, which Paddle refuses for an LSTM that has not run yet.
        paddle.set_default_dtype(dtype)
        try:
            model = make()
        finally:
            paddle.set_default_dtype("float32")
        model.set_state_dict({k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in weights.items()})
        model.train()
        optimizer = paddle.optimizer.Momentum(1e-4, 0.9, parameters=model.parameters())
        found = []
        for batch in batches:
            parts = [paddle.to_tensor(part) for part in batch]
            loss = loss_of(model, [p.astype(dtype) if p.is_floating_point() else p for p in parts])
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            found.append(float(loss.item()))
        return found


def check(make: Make, batches: list[Any], loss_of: Loss) -> None:
    """The CPU's losses, and no fallback. Equality is asked for in f64: batch normalization over few numbers makes other losses out
    of a difference in the last digit of an f32, on the CPU as well. (The CPU's gradient of average pooling has a factor in f32,
    hence the tolerance.) In f32 the first losses are compared."""
    make = still(make)
    weights = initial_weights(make)
    wanted = losses("cpu", make, weights, batches, loss_of, "float64")
    before = openxpu.paddle.fallbacks()
    got = losses("xpu", make, weights, batches, loss_of, "float64")
    rounded = losses("xpu", make, weights, batches, loss_of, "float32")
    after = openxpu.paddle.fallbacks()
    fell = {k: n - before.get(k, 0) for k, n in after.items() if n > before.get(k, 0)}
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    np.testing.assert_allclose(rounded[0], wanted[0], rtol=1e-3)
    assert np.isfinite(rounded).all()
    assert fell == {}


def classify(model: paddle.nn.Layer, batch: Any) -> Any:
    outputs = model(batch[0])
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return sum(F.cross_entropy(out, batch[1]) for out in outputs)


VISION: dict[str, tuple[str, dict[str, Any], int]] = {
    "LeNet": ("LeNet", {}, 28),
    "AlexNet": ("alexnet", {}, 224),
    "VGG": ("vgg11", {"batch_norm": True}, 64),
    "ResNet": ("resnet18", {}, 64),
    "ResNeXt": ("resnext50_32x4d", {}, 64),
    "wide ResNet": ("wide_resnet50_2", {}, 64),
    "MobileNet v1": ("mobilenet_v1", {}, 64),
    "MobileNet v2": ("mobilenet_v2", {}, 64),
    "MobileNet v3 small": ("mobilenet_v3_small", {}, 64),
    "MobileNet v3 large": ("mobilenet_v3_large", {}, 64),
    "DenseNet": ("densenet121", {}, 64),
    "GoogLeNet": ("googlenet", {}, 224),
    "Inception v3": ("inception_v3", {}, 128),
    "ShuffleNet v2": ("shufflenet_v2_x0_25", {}, 64),
    "ShuffleNet v2 swish": ("shufflenet_v2_swish", {}, 64),
    "SqueezeNet": ("squeezenet1_0", {}, 64),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", VISION)
def test_vision(family: str, paddle_xpu: ModuleType) -> None:
    name, options, size = VISION[family]
    make = getattr(paddle.vision.models, name)
    # GoogLeNet has no normalization: pictures of the usual size give scores so far apart that the CPU cuts the loss off.
    scale = np.float32(0.02 if family == "GoogLeNet" else 1)
    batches = [(scale * (x[:, :1] if name == "LeNet" else x), y) for x, y in pictures(STEPS, 4, size)]
    check(lambda: make(num_classes=10, **options), batches, classify)


class CRNN(paddle.nn.Layer):
    """Columns of a convolutional network, read by an LSTM in both directions (Shi and others 2017)."""

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        widths = (1, 16, 32, 48)
        self.convolutions = paddle.nn.Sequential(
            *(
                paddle.nn.Sequential(
                    paddle.nn.Conv2D(a, b, 3, padding=1, bias_attr=False),
                    paddle.nn.BatchNorm2D(b),
                    paddle.nn.ReLU(),
                    paddle.nn.MaxPool2D(2, (2, 1) if i else 2),
                )
                for i, (a, b) in enumerate(itertools.pairwise(widths))
            )
        )
        self.recurrent = paddle.nn.LSTM(48 * 4, 32, num_layers=2, direction="bidirect")
        self.head = paddle.nn.Linear(64, classes)

    def forward(self, x: Any) -> Any:
        x = self.convolutions(x)
        x = x.transpose([0, 3, 1, 2]).flatten(2)
        return self.head(self.recurrent(x)[0])


def read(model: paddle.nn.Layer, batch: Any) -> Any:
    scores = model(batch[0]).transpose([1, 0, 2])
    times = paddle.full([scores.shape[1]], scores.shape[0], "int64")
    return F.ctc_loss(scores, batch[1], times, batch[2])


@pytest.mark.slow
def test_crnn_with_ctc(paddle_xpu: ModuleType) -> None:
    rng = np.random.default_rng(2)
    batches = [
        (
            rng.standard_normal((4, 1, 32, 48)).astype(np.float32),
            rng.integers(1, 11, (4, 6)).astype(np.int32),
            rng.integers(2, 7, 4).astype(np.int64),
        )
        for _ in range(STEPS)
    ]
    check(CRNN, batches, read)


class DeformableDetector(paddle.nn.Layer):
    """Queries that look at a few sampled points of two feature maps (Zhu and others 2021), and predict a box and a class."""

    def __init__(self, width: int = 32, heads: int = 4, points: int = 3, queries: int = 6) -> None:
        super().__init__()
        nn = paddle.nn
        self.heads, self.points = heads, points
        self.stem = nn.Sequential(nn.Conv2D(3, width, 3, 4, 1), nn.BatchNorm2D(width), nn.ReLU())
        self.deeper = nn.Sequential(nn.Conv2D(width, width, 3, 2, 1), nn.GroupNorm(4, width), nn.GELU())
        self.queries = self.create_parameter([queries, width])
        self.value = nn.Linear(width, width)
        self.where = nn.Linear(width, heads * 2 * points * 2)
        self.weight = nn.Linear(width, heads * 2 * points)
        self.norms = nn.LayerList([nn.LayerNorm(width) for _ in range(3)])
        self.attention = nn.MultiHeadAttention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, width))
        self.box, self.classes = nn.Linear(width, 4), nn.Linear(width, 5)

    def sample(self, q: Any, maps: list[Any]) -> Any:
        n, count, width = q.shape
        h, p = self.heads, self.points
        where = F.tanh(self.where(q)).reshape([n, count, h, 2, p, 2])
        weight = F.softmax(self.weight(q).reshape([n, count, h, 2 * p]))
        seen = []
        for level, feature in enumerate(maps):
            value = self.value(feature.flatten(2).transpose([0, 2, 1])).transpose([0, 2, 1])
            value = value.reshape([n * h, width // h, *feature.shape[2:]])
            grid = where[:, :, :, level].transpose([0, 2, 1, 3, 4]).reshape([n * h, count, p, 2])
            seen.append(F.grid_sample(value, grid, align_corners=False))
        both = paddle.concat(seen, -1)  # [n * h, width / h, count, 2 p]
        weight = weight.transpose([0, 2, 1, 3]).reshape([n * h, 1, count, 2 * p])
        return (both * weight).sum(-1).reshape([n, width, count]).transpose([0, 2, 1])

    def forward(self, x: Any) -> Any:
        first = self.stem(x)
        maps = [first, self.deeper(first)]
        q = self.queries.unsqueeze(0).expand([x.shape[0], -1, -1])
        q = self.norms[0](q + self.attention(q, q, q))
        q = self.norms[1](q + self.sample(q, maps))
        q = self.norms[2](q + self.feed(q))
        return F.sigmoid(self.box(q)), self.classes(q)


def detect(model: paddle.nn.Layer, batch: Any) -> Any:
    boxes, scores = model(batch[0])
    wanted = batch[1]
    low = paddle.maximum(boxes[..., :2], wanted[..., :2])
    high = paddle.minimum(boxes[..., :2] + boxes[..., 2:], wanted[..., :2] + wanted[..., 2:])
    common = (high - low).clip(min=0).prod(-1)
    union = boxes[..., 2:].prod(-1) + wanted[..., 2:].prod(-1) - common
    overlap = common / (union + 1e-6)
    return F.l1_loss(boxes, wanted) + (1 - overlap).mean() + F.cross_entropy(scores, batch[2])


@pytest.mark.slow
def test_deformable_detector(paddle_xpu: ModuleType) -> None:
    rng = np.random.default_rng(3)
    batches = [
        (
            rng.standard_normal((2, 3, 64, 64)).astype(np.float32),
            rng.uniform(0.1, 0.5, (2, 6, 4)).astype(np.float32),
            rng.integers(0, 5, (2, 6)).astype(np.int64),
        )
        for _ in range(STEPS)
    ]
    check(DeformableDetector, batches, detect)
