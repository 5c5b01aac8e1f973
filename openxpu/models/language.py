"""Language models by their published shapes: encoders (BERT, ERNIE, ...), decoders (GPT, Llama, Qwen, ...), encoder-decoders (T5, BART).

One definition for each kind, in Paddle's own layers; the numbers of layers, heads and widths are those of the names. Weights
are random. Sources: Vaswani 2017 (attention), Devlin 2018 (BERT), Lan 2019 (ALBERT), Radford 2019 (GPT-2), Zhang 2022 (OPT),
Touvron 2023 (Llama), Qwen team 2024 (Qwen2, biased projections) and 2025 (Qwen3, normalised heads), Raffel 2019 (T5)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model

LENGTH = 24  # tokens of a sample
CLASSES = 5


@dataclass(frozen=True)
class Shape:
    """The configuration of a language model. `kind`: encoder, decoder or both."""

    kind: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    inner: int
    key_heads: int = 0  # 0: as many as heads
    head_width: int = 0  # 0: width / heads
    norm: str = "layer"  # or rms
    before: bool = False  # normalises before each part, not after
    gated: bool = False
    activation: str = "gelu"
    positions: int = 512  # of the learned table; 0: rotary
    types: int = 0  # token types of BERT
    bias: bool = True
    qkv_bias: bool | None = None  # None: as bias
    norm_heads: bool = False  # Qwen3 normalises queries and keys of each head
    relative: int = 0  # buckets of T5's relative positions
    shared: bool = False  # ALBERT: all layers are one
    embedding: int = 0  # narrower embedding, projected (ALBERT, ELECTRA)
    rotary_base: float = 10000.0
    parallel: bool = False  # attention and feed-forward beside each other (GPT-NeoX, Falcon, Phi)
    rotary_part: float = 1.0


def build(shape: Shape) -> Any:
    from openxpu.models.language_layers import KINDS

    return KINDS[shape.kind](shape)


# ---- data ----------------------------------------------------------------------------------------------


def _make(shape: Shape, length: int, batch: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    high = min(shape.vocabulary, 5000)
    ids = rng.integers(1, high, (batch, length)).astype(np.int64)
    if shape.kind == "encoder":
        return {"ids": ids, "label": rng.integers(0, CLASSES, batch).astype(np.int64)}
    following = rng.integers(1, high, (batch, length)).astype(np.int64)
    if shape.kind == "decoder":
        return {"ids": ids, "next": np.concatenate([ids[:, 1:], following[:, :1]], 1)}
    return {"ids": ids, "target": following, "next": np.concatenate([following[:, 1:], ids[:, :1]], 1)}


def _loss(outputs: Any, batch: Batch) -> Any:
    import paddle

    wanted = batch["label"] if "label" in batch else batch["next"].flatten()
    return paddle.nn.functional.cross_entropy(outputs.reshape([-1, outputs.shape[-1]]), wanted)


def data(shape: Shape) -> Data:
    inputs = ("ids", "target") if shape.kind == "both" else ("ids",)
    return Data(
        make=functools.partial(_make, shape, LENGTH),
        inputs=inputs,
        loss=_loss,
        dynamic=dict.fromkeys(inputs, (0, 1)),
        other=functools.partial(_make, shape, LENGTH + 9),
    )


# ---- the shapes that have names --------------------------------------------------------------------------

BERT = Shape("encoder", 30522, 768, 12, 12, 3072, types=2)
ERNIE = replace(BERT, vocabulary=40000, positions=2048, types=4)
GPT2 = Shape("decoder", 50257, 768, 12, 12, 3072, before=True, positions=1024)
OPT = Shape("decoder", 50272, 768, 12, 12, 3072, before=True, positions=2050, activation="relu")
LLAMA = Shape(
    "decoder", 32000, 2048, 22, 32, 5632, key_heads=4, norm="rms", before=True, gated=True, activation="silu", positions=0,
    bias=False,
)  # fmt: skip
QWEN2 = replace(
    LLAMA,
    vocabulary=151936,
    width=896,
    layers=24,
    heads=14,
    key_heads=2,
    inner=4864,
    qkv_bias=True,
    rotary_base=1e6,
)
NEOX = Shape("decoder", 50304, 512, 6, 8, 2048, before=True, positions=0, parallel=True, rotary_part=0.25)
T5 = Shape(
    "both",
    32128,
    512,
    6,
    8,
    2048,
    norm="rms",
    before=True,
    activation="relu",
    positions=0,
    bias=False,
    relative=32,
)
BART = Shape("both", 50265, 768, 6, 12, 3072, positions=1026)

SHAPES = {
    "bert-tiny": replace(BERT, width=128, layers=2, heads=2, inner=512),
    "bert-mini": replace(BERT, width=256, layers=4, heads=4, inner=1024),
    "bert-small": replace(BERT, width=512, layers=4, heads=8, inner=2048),
    "bert-medium": replace(BERT, width=512, layers=8, heads=8, inner=2048),
    "bert-base-uncased": BERT,
    "bert-base-chinese": replace(BERT, vocabulary=21128),
    "bert-large-uncased": replace(BERT, width=1024, layers=24, heads=16, inner=4096),
    "distilbert-base": replace(BERT, layers=6, types=0),
    "roberta-base": replace(BERT, vocabulary=50265, positions=514, types=1),
    "roberta-large": replace(BERT, vocabulary=50265, positions=514, types=1, width=1024, layers=24, heads=16, inner=4096),
    "albert-base-v2": replace(BERT, vocabulary=30000, shared=True, embedding=128),
    "albert-large-v2": replace(BERT, vocabulary=30000, shared=True, embedding=128, width=1024, layers=24, heads=16, inner=4096),
    "electra-small": replace(BERT, width=256, heads=4, inner=1024, embedding=128),
    "electra-base": BERT,
    "minilm-l6-h384": replace(BERT, width=384, layers=6, inner=1536),
    "minilm-l12-h384": replace(BERT, width=384, layers=12, inner=1536),
    "ernie-1.0": replace(BERT, vocabulary=18000, positions=513, activation="relu"),
    "ernie-3.0-base-zh": ERNIE,
    "ernie-3.0-medium-zh": replace(ERNIE, layers=6),
    "ernie-3.0-mini-zh": replace(ERNIE, width=384, layers=6, inner=1536),
    "ernie-3.0-micro-zh": replace(ERNIE, width=384, layers=4, inner=1536),
    "ernie-3.0-nano-zh": replace(ERNIE, width=312, layers=4, inner=1248),
    "ernie-tiny": replace(BERT, vocabulary=50006, width=1024, layers=3, heads=16, inner=4096, positions=600),
    "gpt2": GPT2,
    "gpt2-medium": replace(GPT2, width=1024, layers=24, heads=16, inner=4096),
    "distilgpt2": replace(GPT2, layers=6),
    "opt-125m": OPT,
    "opt-350m-shape": replace(OPT, width=1024, layers=24, heads=16, inner=4096, embedding=512),
    "pythia-70m": NEOX,
    "pythia-160m": replace(NEOX, width=768, layers=12, heads=12, inner=3072),
    "pythia-410m": replace(NEOX, width=1024, layers=24, heads=16, inner=4096),
    "llama-68m": replace(LLAMA, width=768, layers=2, heads=12, key_heads=12, inner=3072),
    "llama-160m": replace(LLAMA, width=768, layers=12, heads=12, key_heads=12, inner=3072),
    "smollm-135m": replace(LLAMA, vocabulary=49152, width=576, layers=30, heads=9, key_heads=3, inner=1536),
    "smollm-360m": replace(LLAMA, vocabulary=49152, width=960, layers=32, heads=15, key_heads=5, inner=2560),
    "tinyllama-1.1b": LLAMA,
    "qwen2-0.5b": QWEN2,
    "qwen3-0.6b": replace(QWEN2, width=1024, layers=28, heads=16, key_heads=8, inner=3072, head_width=128, qkv_bias=False, norm_heads=True),
    "t5-small": T5,
    "t5-base": replace(T5, width=768, layers=12, heads=12, inner=3072),
    "flan-t5-small": replace(T5, layers=8, heads=6, head_width=64, inner=1024, gated=True, activation="gelu"),
    "mt5-small": replace(T5, vocabulary=250112, layers=8, heads=6, head_width=64, inner=1024, gated=True, activation="gelu"),
    "bart-base": BART,
    "bart-large": replace(BART, width=1024, layers=12, heads=16, inner=4096),
}  # fmt: skip


def models() -> list[Model]:
    return [
        Model(
            name,
            "nlp" if shape.kind == "encoder" else "generation",
            "OpenXPU",
            functools.partial(build, shape),
            data(shape),
            learning_rate=1e-2 if shape.kind == "encoder" else 2e-2,
            listed=name.startswith(("bert-base", "ernie-3.0")),
        )
        for name, shape in SHAPES.items()
    ]
