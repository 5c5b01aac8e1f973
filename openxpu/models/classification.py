"""Image classification: the models of paddle.vision, and of PaddleClas where it is installed."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model

CLASSES = 1000


def pictures(size: int, channels: int = 3, classes: int = CLASSES, contrast: float = 1.0) -> Any:
    """make(batch, seed): smooth random pictures [batch, channels, size, size] f32 and class numbers [batch] i64."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:size, 0:size] / size
        waves = rng.uniform(1, 5, (batch, channels, 2))
        image = np.sin(6.3 * (waves[..., 0, None, None] * y + waves[..., 1, None, None] * x))
        noise = rng.normal(0, 0.3, image.shape)
        return {
            "image": (contrast * (image + noise)).astype(np.float32),
            "label": rng.integers(0, classes, batch).astype(np.int64),
        }

    return make


def first(outputs: Any) -> Any:
    """The main result of a model that has auxiliary ones."""
    while isinstance(outputs, list | tuple | dict):
        outputs = next(iter(outputs.values())) if isinstance(outputs, dict) else outputs[0]
    return outputs


def cross_entropy(outputs: Any, batch: Batch) -> Any:
    """The mean over all results that a model gives: the auxiliary ones of GoogLeNet learn too."""
    import paddle

    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if not isinstance(outputs, list | tuple):
        outputs = [outputs]
    losses = [paddle.nn.functional.cross_entropy(o, batch["label"]) for o in outputs]
    return sum(losses[1:], losses[0]) / len(losses)


def image_data(
    size: int, channels: int = 3, other: int | None = None, classes: int = CLASSES, contrast: float = 1.0
) -> Data:
    """Pictures of `size`; `other`: the model takes pictures of this size too."""
    return Data(
        make=pictures(size, channels, classes, contrast),
        inputs=("image",),
        loss=cross_entropy,
        dynamic={"image": (0, 2, 3) if other else (0,)},
        other=pictures(other, channels, classes, contrast) if other else None,
    )


# ---- paddle.vision -------------------------------------------------------------------------------------

# Names in paddle.vision.models, and the size of pictures that the architecture can take and is still whole with.
_VISION = {
    64: """resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d resnext50_64x4d resnext101_32x4d resnext101_64x4d
        resnext152_32x4d resnext152_64x4d wide_resnet50_2 wide_resnet101_2 mobilenet_v1 mobilenet_v2 mobilenet_v3_small
        mobilenet_v3_large densenet121 densenet161 densenet169 densenet201 densenet264 squeezenet1_0 squeezenet1_1
        shufflenet_v2_x0_25 shufflenet_v2_x0_33 shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0
        shufflenet_v2_swish vgg11 vgg13 vgg16 vgg19""",
    96: "inception_v3",
    224: "googlenet alexnet",
}
# Programs of these keep the size: ShuffleNet reshapes channels by numbers that it takes from the picture, and the others have layers
# after their last features that take one size.
_ONE_SIZE = ("shufflenet", "googlenet", "alexnet")
# GoogLeNet normalises nothing, and its random weights make logits of a hundred of pictures with full contrast; the softmax of Paddle's
# CPU device cuts at 64.
FAINT = 0.2
_LISTED = {
    "resnet50", "resnet101", "mobilenet_v3_small", "mobilenet_v3_large", "vgg16", "vgg19", "vgg11", "vgg13", "resnet18",
    "resnet34", "resnet152", "densenet121", "squeezenet1_1", "inception_v3", "googlenet", "alexnet", "mobilenet_v1",
    "mobilenet_v2", "shufflenet_v2_x1_0", "resnext50_32x4d",
}  # fmt: skip


def _vision(name: str) -> Any:
    module = importlib.import_module("paddle.vision.models")
    return module.LeNet() if name == "lenet" else getattr(module, name)()


def _lenet() -> Model:
    data = Data(make=pictures(28, 1, 10), inputs=("image",), loss=cross_entropy, dynamic={"image": (0,)})
    return Model(
        "lenet",
        "classification",
        "paddle.vision",
        functools.partial(_vision, "lenet"),
        data,
        learning_rate=0.01,
    )


def models() -> list[Model]:
    found = [_lenet()]
    for size, names in _VISION.items():
        for name in names.split():
            other = None if name.startswith(_ONE_SIZE) else size + 32
            data = image_data(size, other=other, contrast=FAINT if name == "googlenet" else 1.0)
            build = functools.partial(_vision, name)
            rate = 16e-3 if name == "alexnet" else 1e-3
            found.append(
                Model(
                    name,
                    "classification",
                    "paddle.vision",
                    build,
                    data,
                    learning_rate=rate,
                    listed=name in _LISTED,
                )
            )
    return found
