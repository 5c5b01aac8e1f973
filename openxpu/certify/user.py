"""A user's own model: `openxpu certify my.module:build --input 1x3x224x224`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model

_SHAPE = re.compile(r"(\d+(?:x\d+)*)(?::(f32|i64|i32))?")
_DTYPES = {"f32": np.float32, "i64": np.int64, "i32": np.int32}


def shapes_of(texts: Sequence[str]) -> list[tuple[tuple[int, ...], type]]:
    """Shapes and dtypes of "1x3x224x224" or "1x128:i64". Raises ValueError with a sentence."""
    found: list[tuple[tuple[int, ...], type]] = []
    for text in texts:
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"--input {text} is no shape; give one as 1x3x224x224, or 1x128:i64 for integers."
            )
        found.append((tuple(int(n) for n in match[1].split("x")), _DTYPES[match[2] or "f32"]))
    return found


def _squares(outputs: Any, _: Batch) -> Any:
    """Something that every model can learn: results near one."""
    from openxpu.certify.stages import flat

    parts = [((o.astype("float32") - 1) ** 2).mean() for o in flat(outputs) if "float" in str(o.dtype)]
    return sum(parts[1:], parts[0])


def model(reference: str, inputs: Sequence[str]) -> Model:
    """The model that "package.module:function" (or "file.py:function") builds; integers are below 100.

    Raises ValueError or ImportError with a sentence."""
    module_name, _, function = reference.partition(":")
    if not function:
        raise ValueError(f"{reference} names no function; give one as my.module:build.")
    path = Path(module_name)
    sys.path.insert(0, str(path.parent.resolve()) if path.suffix == ".py" else "")
    module = importlib.import_module(path.stem if path.suffix == ".py" else module_name)
    build = getattr(module, function, None)
    if not callable(build):
        raise ValueError(f"{module_name} has no function {function}.")
    shapes = shapes_of(inputs)

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        made: Batch = {}
        for position, (shape, dtype) in enumerate(shapes):
            extents = (batch, *shape[1:])
            values = rng.normal(0, 1, extents) if dtype is np.float32 else rng.integers(0, 100, extents)
            made[f"input{position}"] = values.astype(dtype)
        return made

    names = tuple(f"input{position}" for position in range(len(shapes)))
    return Model(reference, "classification", "yours", build, Data(make, names, _squares))
