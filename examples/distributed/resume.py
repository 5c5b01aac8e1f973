# A training that can be ended at any time: it saves a checkpoint after every second step and goes on from the last complete
# one, also on other cards and split in another way. Without the launcher: one card.
# python -m paddle.distributed.launch --devices 0,1 resume.py checkpoints --tensor 2
import argparse
import os
from pathlib import Path

import gpt
import paddle
import paddle.distributed as dist
from paddle.distributed import fleet

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("--tensor", type=int, default=1)
parser.add_argument("--until", type=int, default=gpt.STEPS)
arguments = parser.parse_args()

paddle.set_device("xpu")
parts = dist.get_world_size() // arguments.tensor  # into which a batch is divided
if dist.get_world_size() > 1:
    strategy = fleet.DistributedStrategy()
    strategy.hybrid_configs = {"dp_degree": parts, "mp_degree": arguments.tensor, "pp_degree": 1}
    fleet.init(is_collective=True, strategy=strategy)
model = gpt.model()
optimizer = gpt.optimizer(model.parameters())
trained, stepped, group, part = model, optimizer, None, 0
if dist.get_world_size() > 1:
    trained, stepped = fleet.distributed_model(model), fleet.distributed_optimizer(optimizer)
    cards = fleet.get_hybrid_communicate_group()
    group, part = cards.get_data_parallel_group(), cards.get_data_parallel_rank()
latest = arguments.folder / "latest"


def state():
    """Weights and the optimizer's moments, each with its place in the whole."""
    weights = model.sharded_state_dict()
    return {**weights, **optimizer.sharded_state_dict(weights)}


def save(step):
    name = f"step{step}"
    dist.save_state_dict(state(), str(arguments.folder / name))
    if dist.get_world_size() > 1:
        dist.barrier()  # every rank's part is written
    if dist.get_rank() == 0:
        note = arguments.folder / "latest.new"
        note.write_text(name)
        os.replace(note, latest)


start = 0
if latest.exists():
    # A step without gradients makes the optimizer's moments, into which the checkpoint's are loaded.
    for weight in model.parameters():
        weight.grad = paddle.zeros_like(weight)
    optimizer.step()
    optimizer.clear_grad()
    name = latest.read_text()
    dist.load_state_dict(state(), str(arguments.folder / name))
    start = int(name.removeprefix("step"))
for step in range(start, arguments.until):
    tokens, labels = gpt.batch(step, part, parts)
    loss = gpt.Loss()(trained(tokens), labels)
    loss.backward()
    stepped.step()
    stepped.clear_grad()
    gpt.report(step, loss, group)
    if step % 2 == 1:
        save(step + 1)
