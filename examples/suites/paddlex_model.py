# Describes a model that PaddleClas exported for PaddleX, predicts with it, and writes a pipeline.
"""Usage: python paddlex_model.py exported_folder [folder, default "px/ResNet18"]

Copies the program and its weights, writes inference.yml beside them and image_classification.yaml above, and reads two digits
on the card and on the CPU through paddlex.create_model."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import yaml
from paddlex import create_model

IMAGES = ["digits/classify/images/1500.png", "digits/classify/images/1501.png"]


def describe(exported: Path, folder: Path) -> None:
    """The model's folder and its pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in exported.glob("inference.*"):
        if file.suffix in (".json", ".pdmodel", ".pdiparams") and file.stat().st_size:
            shutil.copy(file, folder / file.name)
    normalise = {
        "channel_num": 3,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "scale": 1 / 255,
        "order": "",
    }
    description = {
        "Global": {"model_name": "ResNet18"},
        "PreProcess": {
            "transform_ops": [{"ResizeImage": {"size": 32}}, {"NormalizeImage": normalise}, {"ToCHWImage": None}]
        },
        "PostProcess": {"Topk": {"topk": 3, "label_list": [f"digit-{digit}" for digit in range(10)]}},
    }
    (folder / "inference.yml").write_text(yaml.safe_dump(description))
    module = {
        "module_name": "image_classification",
        "model_name": "ResNet18",
        "model_dir": str(folder),
        "batch_size": 1,
        "topk": 3,
    }
    pipeline = {"pipeline_name": "image_classification", "SubModules": {"ImageClassification": module}}
    (folder.parent / "image_classification.yaml").write_text(yaml.safe_dump(pipeline))


def main(exported: Path, folder: Path) -> None:
    """Describes, then predicts on both devices."""
    describe(exported, folder)
    scores = {}
    for device in ("cpu", "xpu"):
        model = create_model(model_name="ResNet18", model_dir=str(folder), device=device)
        results = list(model.predict(IMAGES, batch_size=2))
        scores[device] = np.array([result["scores"] for result in results])
        print(device, [str(result["label_names"][0]) for result in results], scores[device][:, 0])
    print("largest difference of scores:", np.abs(scores["xpu"] - scores["cpu"]).max())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else "px/ResNet18"))
