"""Part two of the demo: a small character-level GPT that learns to write like Python's standard library."""

from __future__ import annotations

import math
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

ALPHABET = "\n" + "".join(chr(code) for code in range(32, 127)) + "\x00"  # the last: any other


@dataclass(frozen=True)
class Recipe:
    """Size and length of the training. The quick recipe only shows that everything runs."""

    context: int = 64
    batch: int = 24
    width: int = 128
    heads: int = 4
    layers: int = 2
    dropout: float = 0.05
    steps: int = 400
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    sample: int = 400
    seed: int = 7

    @staticmethod
    def quick() -> Recipe:
        return Recipe(context=32, batch=8, width=32, heads=2, layers=1, steps=12, sample=24)


# ---- data ----------------------------------------------------------------------------------------


def load_text() -> str:
    """The top-level modules of the running interpreter's standard library, one after another."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(folder.glob("[a-z]*.py"))
    text = "".join(file.read_text("utf-8", "replace") for file in files)
    if len(text) < 100_000:
        raise RuntimeError(
            f"The demo trains on the Python standard library's sources, but {folder} has only {len(text)} "
            "characters of them. Run it with an interpreter that ships its sources, or pass --skip-gpt."
        )
    return text.replace("    ", "\t").replace("\t", "  ")  # half the indentation: more words in one context


def encode(text: str) -> np.ndarray:
    """One i64 number per character."""
    number = {character: index for index, character in enumerate(ALPHABET)}
    other = len(ALPHABET) - 1
    return np.fromiter((number.get(character, other) for character in text), np.int64, len(text))


# ---- model ---------------------------------------------------------------------------------------


class Attention(nn.Layer):
    """Causal self-attention over [batch, time, width]."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.heads, self.size = recipe.heads, recipe.width // recipe.heads
        self.query_key_value = nn.Linear(recipe.width, 3 * recipe.width)
        self.out = nn.Linear(recipe.width, recipe.width)
        self.dropout = nn.Dropout(recipe.dropout)
        future = np.triu(np.full((recipe.context, recipe.context), -1e9, np.float32), 1)
        self.register_buffer("future", paddle.to_tensor(future), persistable=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        batch, length, width = x.shape
        packed = self.query_key_value(x).reshape([batch, length, 3, self.heads, self.size])
        query, key, value = packed.transpose([2, 0, 3, 1, 4]).unbind(0)
        scores = paddle.matmul(query, key, transpose_y=True) * (1.0 / math.sqrt(self.size)) + self.future
        mixed = paddle.matmul(self.dropout(F.softmax(scores, axis=-1)), value)
        return self.out(mixed.transpose([0, 2, 1, 3]).reshape([batch, length, width]))


class Layer(nn.Layer):
    """Attention and a two-layer perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(recipe.width)
        self.attention = Attention(recipe)
        self.norm2 = nn.LayerNorm(recipe.width)
        self.widen = nn.Linear(recipe.width, 4 * recipe.width)
        self.narrow = nn.Linear(4 * recipe.width, recipe.width)
        self.dropout = nn.Dropout(recipe.dropout)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.narrow(F.gelu(self.widen(self.norm2(x)))))


class SmallGPT(nn.Layer):
    """[batch, context] i64 -> [batch, context, characters] logits of the next character."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.characters = nn.Embedding(len(ALPHABET), recipe.width)
        self.places = nn.Embedding(recipe.context, recipe.width)
        self.register_buffer("place", paddle.arange(recipe.context), persistable=False)
        self.layers = nn.LayerList([Layer(recipe) for _ in range(recipe.layers)])
        self.norm = nn.LayerNorm(recipe.width)
        self.head = nn.Linear(recipe.width, len(ALPHABET), bias_attr=False)

    def forward(self, characters: paddle.Tensor) -> paddle.Tensor:
        x = self.characters(characters) + self.places(self.place)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def set_initial_weights(model: nn.Layer, seed: int) -> None:
    """Draws the weights with NumPy: every device starts from the same ones, whatever its own generator."""
    rng = np.random.default_rng(seed)
    for name, parameter in model.named_parameters():
        if len(parameter.shape) == 2:
            spread = 0.02 if name.startswith(("characters", "places")) else parameter.shape[0] ** -0.5
            parameter.set_value(rng.normal(0.0, spread, tuple(parameter.shape)).astype(np.float32))


# ---- training and writing ------------------------------------------------------------------------


@dataclass
class Trained:
    """What one training run leaves behind. Losses are in nats per character; times in wall-clock seconds."""

    losses: list[float]
    held_out_loss: float
    warm_up_seconds: float
    train_seconds: float
    characters_per_second: float
    sample: str


def build(recipe: Recipe) -> tuple[nn.Layer, paddle.optimizer.Optimizer]:
    paddle.seed(recipe.seed)
    model = SmallGPT(recipe)
    set_initial_weights(model, recipe.seed)
    optimizer = paddle.optimizer.AdamW(
        learning_rate=recipe.learning_rate,
        beta2=0.95,
        parameters=model.parameters(),
        weight_decay=recipe.weight_decay,
        grad_clip=nn.ClipGradByGlobalNorm(1.0),
    )
    return model, optimizer


def loss_of(model: nn.Layer, windows: np.ndarray) -> paddle.Tensor:
    """Mean cross-entropy of the next character; windows is [batch, context + 1] i64."""
    logits = model(paddle.to_tensor(np.ascontiguousarray(windows[:, :-1])))
    answers = paddle.to_tensor(np.ascontiguousarray(windows[:, 1:]))
    return F.cross_entropy(logits.reshape([-1, len(ALPHABET)]), answers.reshape([-1]))


def train_step(model: nn.Layer, optimizer: paddle.optimizer.Optimizer, windows: np.ndarray) -> float:
    loss = loss_of(model, windows)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return float(loss.item())


def write(model: nn.Layer, recipe: Recipe, prompt: str, temperature: float = 0.7) -> str:
    """Continues `prompt` by recipe.sample characters.

    The context always has its full length (filled up behind, where causal attention does not look), so that
    the card sees one shape only.
    """
    model.eval()
    rng = np.random.default_rng(recipe.seed)
    written = encode(prompt).tolist()
    with paddle.no_grad():
        for _ in range(recipe.sample):
            seen = written[-recipe.context :]
            padded = np.zeros((1, recipe.context), np.int64)
            padded[0, : len(seen)] = seen
            scores = model(paddle.to_tensor(padded))[0, len(seen) - 1].numpy() / temperature
            chance = np.exp(scores - scores.max())
            written.append(int(rng.choice(len(chance), p=chance / chance.sum())))
    model.train()
    return "".join(ALPHABET[index] for index in written).replace("\x00", "?")


def train(
    recipe: Recipe, progress: Callable[[int, int, float], None], warm_up_steps: int = 2, prompt: str = "def "
) -> Trained:
    """Trains on the current Paddle device and writes a sample. `progress` hears (step, steps, loss)."""
    codes = encode(load_text())
    held_out, codes = codes[-20_000:], codes[:-20_000]
    rng = np.random.default_rng(recipe.seed)
    reach = np.arange(recipe.context + 1)

    def windows(source: np.ndarray) -> np.ndarray:
        starts = rng.integers(0, len(source) - recipe.context - 1, recipe.batch)
        chosen: np.ndarray = source[starts[:, None] + reach]
        return chosen

    start = time.perf_counter()
    model, optimizer = build(recipe)
    for _ in range(warm_up_steps):
        train_step(model, optimizer, windows(codes))
    warm_up_seconds = time.perf_counter() - start

    model, optimizer = build(recipe)
    losses: list[float] = []
    start = time.perf_counter()
    for step in range(recipe.steps):
        # Rise for the first twentieth, then fall to a tenth along a cosine.
        rise = min(1.0, (step + 1) / max(1, recipe.steps // 20))
        fall = 0.55 + 0.45 * math.cos(math.pi * step / recipe.steps)
        optimizer.set_lr(recipe.learning_rate * rise * fall)
        losses.append(train_step(model, optimizer, windows(codes)))
        progress(step + 1, recipe.steps, losses[-1])
    train_seconds = time.perf_counter() - start

    model.eval()
    with paddle.no_grad():
        held_out_loss = float(np.mean([loss_of(model, windows(held_out)).item() for _ in range(8)]))
    return Trained(
        losses,
        held_out_loss,
        warm_up_seconds,
        train_seconds,
        recipe.steps * recipe.batch * recipe.context / train_seconds,
        write(model, recipe, prompt),
    )
