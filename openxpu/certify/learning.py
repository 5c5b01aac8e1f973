"""Models that learn from real data, on the card and on Paddle's CPU device: `python -m openxpu.certify.learning [NAME ...]`.

Everything that they learn from comes with installed packages (`pip install 'openxpu[test]'`): matplotlib's fonts and its table of
share prices, scikit-learn's digits and breast-cancer table, the documentation of Python packages. What is tested on was never
learned from. The same seeds, weights and batches go to both devices; their scores may differ by what rounding does to training."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Lesson:
    """What is learned: `data()` gives (to learn from, to test on), arrays whose first axis is the sample.

    `loss(layer, batch)` and `answers(layer, batch)` take tensors; `score(answers, test)` arrays, and is better when it is higher.
    `enough` is the score that a test asks for."""

    name: str
    about: str
    data: Callable[[], tuple[Arrays, Arrays]]
    build: Callable[[Arrays], Any]
    loss: Callable[[Any, Any], Any]
    answers: Callable[[Any, Any], Any]
    score: Callable[[np.ndarray, Arrays], float]
    steps: int
    rate: float
    enough: float
    batch: int = 32
    measure: str = "accuracy"


# ---- lines of text in real fonts --------------------------------------------------------------------------

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 6


def _fonts() -> tuple[list[Path], list[Path]]:
    """Matplotlib's fonts that have letters: those to learn from, and two families to test on, which are like none of the others."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    unseen = [
        folder / f"{name}.ttf" for name in ("STIXGeneral", "STIXGeneralBol", "cmss10", "DejaVuSerif-Bold")
    ]
    names = "DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSansMono-Bold DejaVuSansMono-Oblique DejaVuSerif"
    names += " DejaVuSerif-Italic STIXGeneralItalic cmr10 cmb10 cmtt10 cmti10"
    return [folder / f"{name}.ttf" for name in names.split()], unseen


def _drawn(words: Sequence[str], fonts: Sequence[Path], seed: int) -> Arrays:
    """Each word in some font, size, place and slant of brightness: [words, 3, 32, 96] f32, and its letters from 1, 0 behind them."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(seed)
    images, letters = [], []
    for word in words:
        font = ImageFont.truetype(str(fonts[int(rng.integers(len(fonts)))]), int(rng.integers(20, 25)))
        picture = Image.new("L", (96, 32))
        corner = float(rng.integers(1, 8)), float(rng.integers(-1, 4))
        ImageDraw.Draw(picture).text(corner, word, font=font, fill=255)
        shade = np.asarray(picture, np.float32) / 255 * rng.uniform(0.7, 1) + rng.normal(0, 0.08, (32, 96))
        images.append(shade - 0.5)
        letters.append([LETTERS.index(c) + 1 for c in word] + [0] * (LONGEST - len(word)))
    image = np.repeat(np.stack(images).astype(np.float32)[:, None], 3, 1)
    lengths = np.array([len(w) for w in words], np.int64)
    return {"image": image, "letters": np.array(letters, np.int32), "length": lengths}


def _words() -> list[str]:
    """Words of the documentation of Python's language, which comes with Python."""
    from pydoc_data.topics import topics

    text = " ".join(topics.values()).lower()
    return sorted({w for w in re.findall(r"[a-z]+", text) if 3 <= len(w) <= LONGEST})


def _lines() -> tuple[Arrays, Arrays]:
    words = np.array(_words())
    np.random.default_rng(1).shuffle(words)
    seen, unseen = _fonts()
    learn, test = words[100:].tolist(), words[:100].tolist()
    return _drawn(learn * 3, seen, 2), _drawn(test * 2, unseen, 3)


def _reader(_: Arrays) -> Any:
    from paddle import nn

    from openxpu.models import ocr_backbones, ocr_layers

    conv = ocr_backbones.conv
    body = nn.Sequential(
        conv(3, 32), nn.MaxPool2D(2, 2), conv(32, 64), nn.MaxPool2D(2, 2), conv(64, 96), nn.MaxPool2D((2, 1), (2, 1)),
        conv(96, 128), nn.MaxPool2D((4, 1), (4, 1)),
    )  # fmt: skip
    return ocr_layers.Ctc(body, ocr_layers.Straight(128), len(LETTERS) + 1)


def _read_loss(layer: Any, batch: Any) -> Any:
    import paddle

    scores = layer(batch["image"]).transpose([1, 0, 2])
    steps = paddle.full([scores.shape[1]], scores.shape[0], "int64")
    return paddle.nn.functional.ctc_loss(scores, batch["letters"], steps, batch["length"])


def _read_score(found: np.ndarray, test: Arrays) -> float:
    """The part of the letters that are right, by edit distance."""
    wrong = 0
    for places, letters, length in zip(found, test["letters"], test["length"], strict=True):
        read = [p for i, p in enumerate(places) if p and (not i or places[i - 1] != p)]
        row = list(range(length + 1))
        for i, p in enumerate(read, 1):
            before, row[0] = row[0], i
            for j in range(1, length + 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (p != letters[j - 1]))
        wrong += min(row[-1], length)
    return 1 - wrong / int(test["length"].sum())


# ---- sentences of documentation --------------------------------------------------------------------------

PACKAGES = ("numpy", "scipy", "sklearn", "matplotlib", "asyncio")
WORDS, TOKENS = 4000, 24


def _sentences(package: str) -> list[tuple[str, str]]:
    """(file, sentence) of all docstrings of a package, read without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise LookupError(
            f"The sentences of {package} are learned from, and it is not installed: pip install 'openxpu[test]'"
        )
    found = []
    for file in sorted(Path(spec.origin).parent.rglob("*.py")):
        if "test" in str(file.relative_to(Path(spec.origin).parent)):
            continue
        try:
            tree = ast.parse(file.read_text())
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module | ast.AsyncFunctionDef):
                text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                if 5 <= len(text.split()) <= 40:
                    found.append((str(file), text))
    return found


def _tokens(text: str) -> list[int]:
    """Words by a hash that is the same in every process; the name of a package would tell too much."""
    words = [w for w in re.findall(r"[a-z]+", text.lower()) if w not in PACKAGES]
    numbers = [int.from_bytes(w.encode()[:16], "big") % 3989 % (WORDS - 1) + 1 for w in words][:TOKENS]
    return numbers + [0] * (TOKENS - len(numbers))


def _documentation() -> tuple[Arrays, Arrays]:
    """Files are either learned from or tested on, so that no sentence is in both by way of its neighbours."""
    sides: dict[bool, list[tuple[list[int], int]]] = {True: [], False: []}
    rng = np.random.default_rng(1)
    for label, package in enumerate(PACKAGES):
        sentences = _sentences(package)
        files = sorted({file for file, _ in sentences})
        tested = {f for f, side in zip(files, rng.random(len(files)) < 0.25, strict=True) if side}
        rows = [(file in tested, _tokens(text)) for file, text in dict.fromkeys(sentences)]
        for side in (True, False):
            own = [tokens for tested_on, tokens in rows if tested_on == side]
            order = rng.permutation(len(own))[: 100 if side else 1500]
            sides[side] += [(own[i], label) for i in order]
    return tuple(  # type: ignore[return-value]
        {"ids": np.array([t for t, _ in rows], np.int64), "label": np.array([n for _, n in rows], np.int64)}
        for rows in (sides[False], sides[True])
    )


def _encoder(_: Arrays) -> Any:
    from openxpu.models.language import Shape, build

    return build(Shape("encoder", WORDS, 64, 2, 4, 256, before=True, positions=64))


def _classes(name: str) -> Callable[[Any, Any], Any]:
    def loss(layer: Any, batch: Any) -> Any:
        import paddle

        return paddle.nn.functional.cross_entropy(layer(batch[name]), batch["label"])

    return loss


def _right(found: np.ndarray, test: Arrays) -> float:
    return float((found.argmax(-1) == test["label"]).mean())


# ---- shares ----------------------------------------------------------------------------------------------


def _shares() -> tuple[Arrays, Arrays]:
    """Monthly prices of seven shares and indices from 1990 on: returns of 96 months, then those of the next 24, smoothed over a year."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "sample_data" / "Stocks.csv"
    table = np.genfromtxt(file, delimiter=",", skip_header=2)
    rows = table[~np.isnan(table[:, [1, 2, 3, 4, 8, 9, 10]]).any(1)]
    prices = np.log(rows[:, [1, 2, 3, 4, 8, 9, 10]])
    level = np.stack([np.convolve(p, np.ones(6) / 6, "valid") for p in prices.T], 1)
    windows = np.stack([level[i : i + 120] for i in range(len(level) - 119)]).astype(np.float32)
    windows = windows - windows[:, 95:96]
    cut = int(len(windows) * 0.8)
    sides = windows[: cut - 24], windows[cut:]  # the futures of the first are the pasts of the second only
    return tuple({"past": w[:, :96], "future": w[:, 96:]} for w in sides)  # type: ignore[return-value]


def _linear(_: Arrays) -> Any:
    from openxpu.models.series import build

    return build("nlinear")


def _series_loss(layer: Any, batch: Any) -> Any:
    return (layer(batch["past"]) - batch["future"]).abs().mean()


def _better_than_last(found: np.ndarray, test: Arrays) -> float:
    """How much of the error of the forecast that nothing changes is gone."""
    return float(1 - np.abs(found - test["future"]).mean() / np.abs(test["future"]).mean())


# ---- a medical table with a recommender -------------------------------------------------------------------


def _table() -> tuple[Arrays, Arrays]:
    """569 patients: 13 of the 30 measurements as numbers, 26 as categories by their decile."""
    from sklearn.datasets import load_breast_cancer

    values, labels = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(values))
    values, labels = values[order], labels[order]
    learn = slice(0, 400)
    mean, deviation = values[learn].mean(0), values[learn].std(0)
    edges = np.quantile(values[learn], np.arange(0.1, 1, 0.1), axis=0)
    deciles = (values[:, None] > edges[None]).sum(1)
    whole = {
        "numbers": ((values - mean) / deviation)[:, :13].astype(np.float32),
        "categories": deciles[:, 4:].astype(np.int64),
        "label": labels.astype(np.float32)[:, None],
    }
    return {n: a[learn] for n, a in whole.items()}, {n: a[400:] for n, a in whole.items()}


def _deepfm(_: Arrays) -> Any:
    from openxpu.models.recommendation import build

    return build("deepfm")


def _click_loss(layer: Any, batch: Any) -> Any:
    import paddle

    logits = layer(batch["numbers"], batch["categories"])
    return paddle.nn.functional.binary_cross_entropy_with_logits(logits, batch["label"])


def _signs(found: np.ndarray, test: Arrays) -> float:
    return float(((found > 0) == (test["label"] > 0.5)).mean())


# ---- handwritten digits on a page --------------------------------------------------------------------------


def _pages() -> tuple[Arrays, Arrays]:
    """Real handwritten digits, three on each of many made-up pages of 64 by 64, and where their ink is."""
    from sklearn.datasets import load_digits

    digits = load_digits().images / 16.0
    sides = []
    for count, low, high, seed in ((256, 0, 1300, 1), (64, 1300, len(digits), 2)):
        rng = np.random.default_rng(seed)
        pages, where = rng.normal(0, 0.1, (count, 64, 64)), np.zeros((count, 1, 64, 64))
        for page in range(count):
            for place in rng.permutation(9)[:3]:
                y, x = place // 3 * 21 + rng.integers(0, 5), place % 3 * 21 + rng.integers(0, 5)
                digit = np.kron(digits[rng.integers(low, high)], np.ones((2, 2)))
                pages[page, y : y + 16, x : x + 16] += digit
                where[page, 0, y : y + 16, x : x + 16] = 1
        image = np.repeat(pages[:, None], 3, 1).astype(np.float32)
        sides.append({"image": image, "text": where.astype(np.float32)})
    return sides[0], sides[1]


def _finder(_: Arrays) -> Any:
    from openxpu.models.ocr import build

    return build("ppocrv3-det")


def _find_loss(layer: Any, batch: Any) -> Any:
    from openxpu.models.ocr import database_loss

    return database_loss(layer(batch["image"]), batch)


def _overlap(found: np.ndarray, test: Arrays) -> float:
    """Intersection over union of all pages."""
    marked, wanted = found > 0.5, test["text"] > 0.5
    return float((marked & wanted).sum() / max((marked | wanted).sum(), 1))


LESSONS = (
    Lesson("lines", "Rosetta (small) reads words in fonts that it has not seen", _lines, _reader, _read_loss,
           lambda layer, b: layer(b["image"]).argmax(-1), _read_score, 400, 4e-3, 0.6, measure="letters right"),
    Lesson("documentation", "a transformer tells which package a docstring is from", _documentation, _encoder, _classes("ids"),
           lambda layer, b: layer(b["ids"]), _right, 300, 1e-3, 0.5),
    Lesson("shares", "NLinear forecasts two years of seven share prices", _shares, _linear, _series_loss,
           lambda layer, b: layer(b["past"]), _better_than_last, 300, 1e-3, 0.0, measure="error gone"),
    Lesson("table", "DeepFM finds malignant tumours in a table", _table, _deepfm, _click_loss,
           lambda layer, b: layer(b["numbers"], b["categories"]), _signs, 120, 1e-3, 0.92),
    Lesson("pages", "PP-OCRv3's detector finds handwritten digits on a page", _pages, _finder, _find_loss,
           lambda layer, b: layer(b["image"]), _overlap, 120, 3e-3, 0.6, batch=8, measure="overlap"),
)  # fmt: skip


# ---- both devices ----------------------------------------------------------------------------------------


def learned(lesson: Lesson, device: str, steps: int | None = None, seed: int = 1) -> dict[str, float]:
    """Trains with Adam on `device` and tests: {"score", "loss" (of the last tenth of the steps), "seconds"}."""
    import paddle

    learn, test = lesson.data()
    count = len(next(iter(learn.values())))
    total = steps or lesson.steps
    paddle.set_device("cpu")
    paddle.seed(seed)
    weights = {name: value.numpy() for name, value in lesson.build(learn).state_dict().items()}
    paddle.set_device(device)
    try:
        layer = lesson.build(learn)
        layer.set_state_dict(weights)
        for part in layer.sublayers():
            if "Dropout" in type(part).__name__:
                part.p = 0.0  # its masks differ from device to device
        schedule = paddle.optimizer.lr.CosineAnnealingDecay(lesson.rate, total)
        clip = paddle.nn.ClipGradByGlobalNorm(5.0)
        optimizer = paddle.optimizer.Adam(schedule, parameters=layer.parameters(), grad_clip=clip)
        rng, losses = np.random.default_rng(seed), []
        start = time.perf_counter()
        layer.train()
        for _ in range(total):
            chosen = rng.integers(0, count, lesson.batch)
            loss = lesson.loss(
                layer, {name: paddle.to_tensor(array[chosen]) for name, array in learn.items()}
            )
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            schedule.step()
            losses.append(float(loss.item()))
        seconds = time.perf_counter() - start
        layer.eval()
        found = []
        with paddle.no_grad():
            for first in range(0, len(next(iter(test.values()))), 64):
                rows = {name: paddle.to_tensor(array[first : first + 64]) for name, array in test.items()}
                found.append(lesson.answers(layer, rows).numpy())
    finally:
        paddle.set_device("cpu")
    score = lesson.score(np.concatenate(found), test)
    return {"score": score, "loss": float(np.mean(losses[-max(total // 10, 1) :])), "seconds": seconds}


def main(names: Sequence[str]) -> int:
    """Prints a line for each lesson: the scores of both devices, and how often the card learns while the CPU learns once."""
    known = {lesson.name: lesson for lesson in LESSONS}
    wrong = [name for name in names if name not in known]
    if wrong:
        print(f"There is no lesson {', '.join(wrong)}; known are {', '.join(known)}.", file=sys.stderr)
        return 2
    print("| lesson | what is learned | measure | card | CPU | speed |\n|---|---|---|---|---|---|")
    for lesson in [known[name] for name in names] or LESSONS:
        found = {device: learned(lesson, device) for device in ("xpu", "cpu")}
        card, cpu = found["xpu"], found["cpu"]
        cells = (lesson.name, lesson.about, lesson.measure, f"{card['score']:.3f}", f"{cpu['score']:.3f}")
        print(f"| {' | '.join(cells)} | {cpu['seconds'] / card['seconds']:.2f}x |", flush=True)
        print(json.dumps({lesson.name: found}), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
