"""OCR models: text detection, recognition, direction and tables, with pages and lines to learn from."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model

CHARACTERS = 5  # of a line
STEPS = 8  # that a decoder is taught


def build(name: str) -> Any:
    from openxpu.models.ocr_layers import builders

    return builders()[name]()


# ---- batches -------------------------------------------------------------------------------------------


def pages(size: int, channels: int = 3) -> Any:
    """make(batch, seed): pages [batch, 3, size, size] f32 with bright lines, where they are, [batch, 1, size, size] f32."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        image = rng.normal(0, 0.2, (batch, channels, size, size))
        text = np.zeros((batch, 1, size, size))
        for sample in range(batch):
            for top in range(size // 8, size - size // 4, size // 4):
                left, right = size // 8, size - rng.integers(size // 8, size // 2)
                image[sample, :, top : top + size // 8, left:right] += 1 + 0.5 * np.sin(
                    np.arange(right - left)
                )
                text[sample, :, top + 1 : top + size // 8 - 1, left + 1 : right - 1] = 1
        return {"image": image.astype(np.float32), "text": text.astype(np.float32)}

    return make


def lines(height: int, width: int, classes: int, channels: int = 3, length: int = CHARACTERS) -> Any:
    """make(batch, seed): lines [batch, channels, height, width] f32, their characters [batch, length] i32, and the same i64
    behind a start (`target`) and before an end (`next`)."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        characters = rng.integers(3, classes, (batch, length))
        image = rng.normal(0, 0.3, (batch, channels, height, width))
        for sample in range(batch):
            for place, character in enumerate(characters[sample]):
                left = place * width // length
                image[sample, :, height // 5 : -height // 5, left : left + width // length - 2] += np.sin(
                    character * np.arange(width // length - 2)
                )
        ends = np.zeros((batch, STEPS - length), np.int64) + 2
        start = np.ones((batch, 1), np.int64)
        target = np.concatenate([start, characters, ends], 1)[:, :STEPS]
        return {
            "image": image.astype(np.float32),
            "target": target.astype(np.int64),
            "characters": characters.astype(np.int32),
            "next": np.concatenate([characters, ends], 1)[:, :STEPS].astype(np.int64),
        }

    return make


# ---- losses --------------------------------------------------------------------------------------------


def _dice(found: Any, wanted: Any) -> Any:
    return 1 - 2 * (found * wanted).sum() / (found.sum() + wanted.sum() + 1e-6)


def database_loss(outputs: Any, batch: Batch) -> Any:
    """Where text is by cross-entropy, the threshold by its distance, the soft step by overlap; the border map is the text map."""
    import paddle

    found, text = outputs.astype("float32"), batch["text"]
    shrunk, threshold, step = (found[:, i : i + 1] for i in range(3))
    inside = paddle.nn.functional.binary_cross_entropy(shrunk.clip(1e-6, 1 - 1e-6), text)
    return inside + (threshold - (0.3 + 0.4 * text)).abs().mean() + _dice(step, text)


def _east(outputs: Any, batch: Batch) -> Any:
    import paddle

    found = outputs.astype("float32")
    text = paddle.nn.functional.max_pool2d(batch["text"], 4, 4)
    return _dice(found[:, :1], text) + ((found[:, 1:] - 0.5) ** 2 * text).mean()


def _kernels(outputs: Any, batch: Batch) -> Any:
    return _dice(outputs.astype("float32"), batch["text"].expand_as(outputs))


def _fourier(outputs: Any, batch: Batch) -> Any:
    import paddle

    total = 0.0
    for level, found in enumerate(outputs):
        text = paddle.nn.functional.max_pool2d(batch["text"], 8 << level, 8 << level)
        classes, contour = (part.astype("float32") for part in (found[:, :4], found[:, 4:]))
        there = paddle.nn.functional.binary_cross_entropy(
            classes.clip(1e-6, 1 - 1e-6), text.expand([-1, 4, -1, -1])
        )
        total = total + there + ((contour - 0.5) ** 2 * text).mean()
    return total


def ctc(outputs: Any, characters: Any) -> Any:
    """Paddle's CTC of scores [batch, length, classes], blank 0, of characters [batch, n] i32."""
    import paddle

    scores = outputs.astype("float32").transpose([1, 0, 2])
    count = characters.shape[0]
    lengths = [paddle.full([count], n, "int64") for n in (scores.shape[0], characters.shape[1])]
    return paddle.nn.functional.ctc_loss(scores, characters, *lengths)


def recognition_loss(outputs: Any, batch: Batch) -> Any:
    return ctc(outputs, batch["characters"])


def next_loss(outputs: Any, batch: Batch) -> Any:
    import paddle

    return paddle.nn.functional.cross_entropy(
        outputs.astype("float32").flatten(0, 1), batch["next"].flatten()
    )


def _guided(outputs: Any, batch: Batch) -> Any:
    return recognition_loss(outputs[0], batch) + next_loss(outputs[1], batch)


def _three(outputs: Any, batch: Batch) -> Any:
    return sum((next_loss(o[:, :STEPS], batch) for o in outputs[1:]), next_loss(outputs[0][:, :STEPS], batch))


def _first_places(outputs: Any, batch: Batch) -> Any:
    return next_loss(outputs[:, :STEPS], batch)


def _table(outputs: Any, batch: Batch) -> Any:
    return next_loss(outputs[0], batch) + ((outputs[1].astype("float32") - 0.3) ** 2).mean()


def _direction(outputs: Any, batch: Batch) -> Any:
    import paddle

    return paddle.nn.functional.cross_entropy(
        outputs.astype("float32"), batch["next"][:, 0] % outputs.shape[-1]
    )


# ---- the list ------------------------------------------------------------------------------------------


def _detector(loss: Any) -> Data:
    return Data(pages(64), ("image",), loss, {"image": (0, 2, 3)}, pages(96))


def _line(
    loss: Any,
    height: int,
    width: int,
    classes: int,
    wider: int = 0,
    taught: bool = False,
    channels: int = 3,
    guided: bool = False,
) -> Data:
    """`wider`: the model reads lines of this width too. `taught`: it is given the characters; `guided`: only while it is trained."""
    inputs = ("image", "target") if taught or guided else ("image",)
    other = lines(height, wider, classes, channels) if wider else None
    dynamic = {"image": (0, 3) if wider else (0,), "target": (0,)}
    return Data(
        lines(height, width, classes, channels), inputs, loss, dynamic, other, ("image",) if guided else ()
    )


def _data() -> dict[str, Data]:
    db = _detector(database_loss)
    found = dict.fromkeys(
        [
            "db-resnet18",
            "db-resnet50",
            "db-mobilenetv3",
            "db++-resnet50",
            "ppocrv2-det",
            "ppocrv3-det",
            "ppocrv4-det-mobile",
            "ppocrv4-det-server",
            "ppocrv5-det-mobile",
            "ppocrv5-det-server",
        ],
        db,
    )
    found |= dict.fromkeys(("east-resnet50", "east-mobilenetv3"), _detector(_east))
    found |= dict.fromkeys(("pse-resnet50", "pse-mobilenetv3"), _detector(_kernels))
    found |= {"fce-resnet50": _detector(_fourier)}
    english = _line(recognition_loss, 32, 100, 97, 160)
    for name in ("resnet34", "mobilenetv3"):
        found |= {
            f"crnn-{name}": english,
            f"rosetta-{name}": english,
            f"starnet-{name}": _line(recognition_loss, 32, 100, 97),
        }
        found[f"rare-{name}"] = _line(next_loss, 32, 100, 97, taught=True)
    found |= {
        "crnn-mobilenetv3-small": english,
        "ppocrv2-rec": _line(recognition_loss, 32, 100, 6625, 160),
        "ppocrv3-rec": _line(recognition_loss, 32, 100, 6625, 160),
        "sar-resnet31": _line(next_loss, 48, 96, 97, 160, True),
        "nrtr": _line(next_loss, 32, 100, 97, 160, True),
        "abinet": _line(_three, 32, 128, 37),
        **{
            f"vitstr-{size}": _line(_first_places, 224, 224, 97, channels=1)
            for size in ("tiny", "small", "base")
        },
        **{name: _line(next_loss, 32, 128, 97, taught=True) for name in ("parseq-tiny", "parseq")},
        **{
            f"svtr-{size}": _line(recognition_loss, 32, 100, 97)
            for size in ("tiny", "small", "base", "large")
        },
        "ppocr-cls-mobile": _line(_direction, 48, 192, 97, 160),
        "textline-orientation-x0.25": _line(_direction, 80, 160, 97, 200),
        "textline-orientation-x1.0": _line(_direction, 80, 160, 97, 200),
        "doc-orientation-x1.0": _line(_direction, 96, 96, 97, 128),
        "table-cls-x1.0": _line(_direction, 96, 96, 97, 128),
        "slanet": _line(_table, 128, 128, 50, taught=True),
    }
    for version, classes in (("v4", 6625), ("v5", 18385)):
        found |= dict.fromkeys(
            (f"ppocr{version}-rec-mobile", f"ppocr{version}-rec-server"),
            _line(_guided, 48, 160, classes, 320, guided=True),
        )
    return found


def models() -> list[Model]:
    return [
        Model(
            name,
            "ocr",
            "OpenXPU",
            functools.partial(build, name),
            data,
            learning_rate=5e-2 if data.loss is recognition_loss else 1e-2,
            listed=name.startswith(("ppocr", "db-", "crnn-", "svtr-tiny", "slanet")),
        )
        for name, data in _data().items()
    ]
