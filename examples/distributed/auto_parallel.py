# Auto-parallel: plain layers, whose weights and inputs say how they lie on a mesh of cards (data by tensor parallel); Paddle
# works out what is exchanged. The argument is the number of cards that share a layer.
# python -m paddle.distributed.launch --devices 0,1 auto_parallel.py 2
import sys

import gpt
import numpy as np
import paddle
import paddle.distributed as dist
from paddle.distributed import Replicate, Shard

wide, narrow = ("qkv", "up", "logits"), ("out", "down")


def place(name, layer, mesh):
    """Layers that widen are split by columns, those that narrow by rows, the rest is on every card."""
    kind = name.split(".")[-1]
    for key, weight in layer._parameters.items():
        split = Replicate()
        if kind in wide:
            split = Shard(weight.ndim - 1)
        elif kind in narrow and key == "weight":
            split = Shard(0)
        layer._parameters[key] = dist.shard_tensor(weight, mesh, [Replicate(), split])


def build():
    """The mesh of cards, and the model and its optimizer on it."""
    paddle.set_device("xpu")
    dist.init_parallel_env()
    tensor_degree = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    cards = np.arange(dist.get_world_size()).reshape(-1, tensor_degree)
    mesh = dist.ProcessMesh(cards.tolist(), dim_names=["data", "tensor"])
    model = dist.shard_layer(gpt.model(), mesh, place)
    return mesh, model, dist.shard_optimizer(gpt.optimizer(model.parameters()))


if __name__ == "__main__":
    mesh, model, optimizer = build()
    for step in range(gpt.STEPS):
        tokens, labels = (dist.shard_tensor(x, mesh, [Shard(0), Replicate()]) for x in gpt.batch(step))
        loss = gpt.Loss()(model(tokens), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        gpt.report(step, dist.reshard(loss, mesh, [Replicate(), Replicate()])._local_value())
