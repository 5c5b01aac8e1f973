"""What a model of the library is, and how it is found by name."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TASKS = (
    "classification", "detection", "segmentation", "ocr", "nlp", "speech", "time-series", "recommendation", "generation",
)  # fmt: skip

# One batch: arrays by name, those of the model first, in the order of its arguments.
Batch = dict[str, Any]


@dataclass(frozen=True)
class Data:
    """Batches for a model, and what it learns from them.

    `make(batch, seed)` returns {name: array}; `inputs` are the names that the model is called with, in order.
    `loss(outputs, batch)` returns a scalar tensor; it needs to fall on one batch that is seen again and again.
    `dynamic` are axes, by input, that may change: {"image": (0, 2, 3)}; `other(batch, seed)` a batch with other extents there.
    `served` are the names that it is called with when it is not trained, where those are others than `inputs`."""

    make: Callable[[int, int], Batch]
    inputs: tuple[str, ...]
    loss: Callable[[Any, Batch], Any]
    dynamic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    other: Callable[[int, int], Batch] | None = None
    served: tuple[str, ...] = ()

    @property
    def asked(self) -> tuple[str, ...]:
        """The inputs of the model when it is not trained."""
        return self.served or self.inputs


@dataclass(frozen=True)
class Model:
    """A named model. `build()` makes its paddle.nn.Layer with random weights; `source` says who wrote it.

    `requires` is the module that `build` imports beside Paddle, `install` what pip calls it. `learning_rate` is of the Momentum
    (0.9) that certification trains with."""

    name: str
    task: str
    source: str
    build: Callable[[], Any]
    data: Data
    requires: str = ""
    install: str = ""
    learning_rate: float = 1e-3
    listed: bool = False  # among those that the reference publishes

    @property
    def missing(self) -> str | None:
        """Why the model cannot be built here, with the line that changes it, or None."""
        if self.requires and importlib.util.find_spec(self.requires) is None:
            return f"{self.name} comes from {self.source}, which is not installed here: pip install {self.install}"
        return None


# Of every task, small, of nothing but Paddle: what shows within minutes that certification works.
SMOKE = (
    "lenet", "mobilenet_v3_small", "shufflenet_v2_x0_25", "squeezenet1_1", "ssdlite-mobilenet_v3_small", "dcgan-generator",
    "vae-conv", "srcnn-x2", "ppocrv3-rec", "ppocr-cls-mobile", "bert-tiny", "ernie-3.0-nano-zh", "ds-cnn-s", "kwt-1", "x-vector", "dlinear", "ts-lstm",
    "patchtst", "deepfm", "din",
)  # fmt: skip

# Each has MODELS: a sequence, or a function that returns one.
_MODULES: tuple[str, ...] = (
    "language",
    "generation",
    "detection",
    "paddleclas_models",
    "paddledet_models",
    "paddleseg_models",
    "classification",
    "ocr",
    "speech",
    "series",
    "recommendation",
)


@functools.cache
def models() -> tuple[Model, ...]:
    """All models of the library, by task and name; also those whose suite is not installed."""
    found: dict[str, Model] = {}
    for name in _MODULES:
        module = importlib.import_module(f"openxpu.models.{name}")
        for model in module.models():
            if model.name in found:
                raise ValueError(
                    f"Two models are called {model.name}: of {found[model.name].source} and of {model.source}."
                )
            if model.task not in TASKS:
                raise ValueError(f"{model.name} has the task {model.task!r}; known are {', '.join(TASKS)}.")
            found[model.name] = model
    return tuple(sorted(found.values(), key=lambda m: (TASKS.index(m.task), m.name)))


def find(names: Iterable[str] = (), tasks: Sequence[str] = ()) -> list[Model]:
    """The models of these names (with * and ?) or tasks; all of them when none is given.

    Raises LookupError with a sentence for a name or a task that nothing matches."""
    every = models()
    wrong = [task for task in tasks if task not in TASKS]
    if wrong:
        raise LookupError(f"There is no task {', '.join(wrong)}; known are {', '.join(TASKS)}.")
    chosen = [m for m in every if not tasks or m.task in tasks]
    patterns = list(names)
    if not patterns:
        return chosen
    found: dict[str, Model] = {}
    for pattern in patterns:
        matches = [m for m in chosen if fnmatch.fnmatchcase(m.name.lower(), pattern.lower())]
        if not matches:
            near = difflib.get_close_matches(pattern.lower(), [m.name for m in chosen], 3)
            hint = f"; near are {', '.join(near)}" if near else ""
            raise LookupError(f"No model is called {pattern}{hint}. `openxpu models` lists them.")
        found |= {m.name: m for m in matches}
    return list(found.values())
