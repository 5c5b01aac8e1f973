# A small GPT of plain Paddle layers: the model that all examples of this folder train.
"""Its weights come from names and not from a generator, so that every split of the model starts from the same numbers."""

import os
import zlib

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.fleet import meta_parallel

VOCABULARY, WIDTH, HEADS, LENGTH, BATCH, STEPS = 64, 32, 4, 16, 16, 10
LAYERS = int(os.environ.get("GPT_LAYERS", "4"))


def tensor_degree():
    """How many cards share one layer; (degree, this card's place among them)."""
    try:
        group = fleet.get_hybrid_communicate_group()
    except AttributeError:  # fleet.init was not called: one card holds whole layers
        return 1, 0
    return group.get_model_parallel_world_size(), group.get_model_parallel_rank()


def widen(inputs, outputs):
    """A linear layer whose outputs are spread over the cards."""
    if tensor_degree()[0] == 1:
        return nn.Linear(inputs, outputs)
    return meta_parallel.ColumnParallelLinear(inputs, outputs, has_bias=True, gather_output=False)


def narrow(inputs, outputs):
    """A linear layer whose inputs are spread over the cards."""
    if tensor_degree()[0] == 1:
        return nn.Linear(inputs, outputs)
    return meta_parallel.RowParallelLinear(inputs, outputs, has_bias=True, input_is_parallel=True)


def fill(layer, key):
    """Sets the weights from their names: this card's part of the whole weight."""
    degree, place = tensor_degree()
    for name, weight in layer.named_parameters():
        shape, axis = list(weight.shape), None
        if degree > 1 and weight.is_distributed:
            axis = weight.split_axis
            shape[axis] *= degree
        generator = np.random.default_rng(zlib.crc32(f"{key}.{name}".encode()))
        whole = (generator.standard_normal(shape) * 0.1 + ("norm" in name and "weight" in name)).astype("float32")
        weight.set_value(whole if axis is None else np.split(whole, degree, axis)[place])


class Embedding(nn.Layer):
    def __init__(self):
        super().__init__()
        embedding = nn.Embedding if tensor_degree()[0] == 1 else meta_parallel.VocabParallelEmbedding
        self.tokens = embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        fill(self, "embedding")

    def forward(self, ids):
        return self.tokens(ids) + self.positions(paddle.arange(ids.shape[1]))


class Block(nn.Layer):
    def __init__(self, number):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = widen(WIDTH, 3 * WIDTH), narrow(WIDTH, WIDTH)
        self.up, self.down = widen(WIDTH, 4 * WIDTH), narrow(4 * WIDTH, WIDTH)
        fill(self, f"block{number}")

    def attend(self, x):
        batch, length, _ = x.shape
        # Columns are ordered by head, so that a card holds whole heads.
        q, k, v = self.qkv(self.norm1(x)).reshape([batch, length, -1, 3, WIDTH // HEADS]).unbind(3)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(seen.reshape([batch, length, -1]))

    def forward(self, x):
        x = self.attend(x)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Head(nn.Layer):
    def __init__(self):
        super().__init__()
        self.norm, self.logits = nn.LayerNorm(WIDTH), widen(WIDTH, VOCABULARY)
        fill(self, "head")

    def forward(self, x):
        return self.logits(self.norm(x))


class Loss(nn.Layer):
    def forward(self, logits, labels):
        if tensor_degree()[0] == 1:
            return F.cross_entropy(logits, labels)
        return meta_parallel.ParallelCrossEntropy()(logits, labels.unsqueeze(-1)).mean()


def layers():
    """The model as a list, as a pipeline takes it."""
    layer = meta_parallel.LayerDesc
    return [layer(Embedding), *(layer(Block, i) for i in range(LAYERS)), layer(Head)]


def model():
    return nn.Sequential(*(description.build_layer() for description in layers()))


def optimizer(parameters):
    return paddle.optimizer.AdamW(1e-3, parameters=parameters, weight_decay=0.01)


def rows(step):
    """Tokens and the tokens that follow them, as NumPy arrays."""
    drawn = np.random.default_rng(step).integers(0, VOCABULARY, (BATCH, LENGTH + 1))
    return drawn[:, :-1], drawn[:, 1:]


def batch(step, part=0, parts=1):
    """The rows of one of several data-parallel parts."""
    return tuple(paddle.to_tensor(np.split(half, parts)[part]) for half in rows(step))


def report(step, loss, group=None):
    """Prints and returns the loss of the whole batch: the mean of the parts'."""
    loss = loss.detach().clone()
    if group is not None and group.nranks > 1:
        paddle.distributed.all_reduce(loss, group=group)
        loss = loss / group.nranks
    if paddle.distributed.get_rank() == 0:
        print(f"step {step} loss {loss.item():.7f}", flush=True)
    return loss.item()
