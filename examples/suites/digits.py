# Writes small data sets for the Paddle suites from scikit-learn's 1,797 scanned digits.
"""Usage: python digits.py [folder, default "digits"]

    classify/  one digit an image: images/*.png, train.txt and val.txt ("path class"), label.txt ("class name")
    detect/    one to four digits on a canvas: images/*.png, annotations/instance_{train,val}.json (COCO)
    read/      two or three digits in a line: images/*.png, train.txt and val.txt ("path<tab>digits"), dict.txt (characters)

They lie as PaddleX wants them, which serves PaddleClas, PaddleDetection and PaddleOCR, too. It needs numpy, pillow and scikit-learn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TRAIN = 1440  # digits of the training sets; the other 357 are for validation
CLASS = 32  # side of an image of one digit
CANVAS = 160
LINE = (32, 64)  # height and width of a line of digits


def scaled(digit: np.ndarray, side: int) -> np.ndarray:
    """An 8 by 8 digit of 0..16 as a dark one on light ground, [side, side] in uint8."""
    grey = (255 - digit * (255 / 16)).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC))


def save(image: np.ndarray, folder: Path, name: str) -> str:
    """Writes an RGB image into folder/images; its path relative to the folder."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).convert("RGB").save(folder / "images" / name)
    return f"images/{name}"


def classify(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """One digit an image."""
    rows = [
        f"{save(scaled(image, CLASS), folder, f'{number:04}.png')} {label}"
        for number, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    (folder / "train.txt").write_text("\n".join(rows[:TRAIN]) + "\n")
    (folder / "val.txt").write_text("\n".join(rows[TRAIN:]) + "\n")
    (folder / "label.txt").write_text("".join(f"{digit} digit-{digit}\n" for digit in range(10)))


def canvas(
    rng: np.random.Generator, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """A canvas with one digit in up to four of its quarters: (image, [(label, [x, y, width, height])])."""
    image, found, half = np.full((CANVAS, CANVAS), 255, np.uint8), [], CANVAS // 2
    for quarter in rng.permutation(4)[: rng.integers(1, 5)]:
        pick, side = rng.integers(len(images)), int(rng.integers(40, 73))
        x = int(quarter % 2) * half + int(rng.integers(0, half - side))
        y = int(quarter // 2) * half + int(rng.integers(0, half - side))
        digit = scaled(images[pick], side)
        image[y : y + side, x : x + side] = digit
        inked_rows, inked_columns = np.nonzero((digit < 200).any(1))[0], np.nonzero((digit < 200).any(0))[0]
        box = [
            x + int(inked_columns[0]),
            y + int(inked_rows[0]),
            int(np.ptp(inked_columns)) + 1,
            int(np.ptp(inked_rows)) + 1,
        ]
        found.append((int(labels[pick]), box))
    return image, found


def detect(folder: Path, part: str, count: int, images: np.ndarray, labels: np.ndarray) -> None:
    """Digits on canvases, in COCO's format."""
    rng = np.random.default_rng(len(images))
    pictures, boxes = [], []
    for number in range(count):
        image, found = canvas(rng, images, labels)
        name = save(image, folder, f"{part}-{number:04}.png").removeprefix("images/")
        pictures.append({"id": number, "file_name": name, "width": CANVAS, "height": CANVAS})
        for label, box in found:
            boxes.append(
                {
                    "id": len(boxes), "image_id": number, "category_id": label, "bbox": box,
                    "area": box[2] * box[3], "iscrowd": 0, "segmentation": [],
                }
            )  # fmt: skip
    categories = [{"id": digit, "name": f"digit-{digit}"} for digit in range(10)]
    (folder / "annotations").mkdir(exist_ok=True)
    coco = json.dumps({"images": pictures, "annotations": boxes, "categories": categories})
    (folder / "annotations" / f"instance_{part}.json").write_text(coco)


def line(rng: np.random.Generator, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, str]:
    """A line of digits from left to right and what it says."""
    height, width = LINE
    image, text = np.full(LINE, 255, np.uint8), ""
    count = int(rng.integers(2, 4))
    for place in range(count):
        pick, side = rng.integers(len(images)), int(rng.integers(17, 22))
        x = place * (width // count) + int(rng.integers(0, width // count - side + 1))
        y = int(rng.integers(0, height - side + 1))
        image[y : y + side, x : x + side] = scaled(images[pick], side)
        text += str(labels[pick])
    return image, text


def read(folder: Path, part: str, count: int, images: np.ndarray, labels: np.ndarray) -> None:
    """Lines of digits to read."""
    rng = np.random.default_rng(len(images))
    rows = []
    for number in range(count):
        image, text = line(rng, images, labels)
        rows.append(f"{save(image, folder, f'{part}-{number:04}.png')}\t{text}\n")
    (folder / f"{part}.txt").write_text("".join(rows))
    (folder / "dict.txt").write_text("".join(f"{digit}\n" for digit in range(10)))


def main(folder: Path) -> None:
    """Writes the three."""
    digits = load_digits()
    images, labels = digits.images, digits.target
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order]
    classify(folder / "classify", images, labels)
    for part, chosen, scenes, lines in (("train", slice(None, TRAIN), 400, 1600), ("val", slice(TRAIN, None), 100, 200)):
        detect(folder / "detect", part, scenes, images[chosen], labels[chosen])
        read(folder / "read", part, lines, images[chosen], labels[chosen])
    print(f"wrote {folder}/classify, {folder}/detect and {folder}/read")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "digits"))
