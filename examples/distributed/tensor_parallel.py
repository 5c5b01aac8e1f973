# Tensor parallel: every card holds a part of every layer; with --data N there are N such models, as on N machines.
# python -m paddle.distributed.launch --devices 0,1 tensor_parallel.py
import argparse

import gpt
import paddle
import paddle.distributed as dist
from paddle.distributed import fleet

arguments = argparse.ArgumentParser()
arguments.add_argument("--data", type=int, default=1)
data = arguments.parse_args().data

paddle.set_device("xpu")
strategy = fleet.DistributedStrategy()
strategy.hybrid_configs = {"dp_degree": data, "mp_degree": dist.get_world_size() // data, "pp_degree": 1}
fleet.init(is_collective=True, strategy=strategy)
cards = fleet.get_hybrid_communicate_group()
model = gpt.model()
optimizer = fleet.distributed_optimizer(gpt.optimizer(model.parameters()))
model = fleet.distributed_model(model)
for step in range(gpt.STEPS):
    tokens, labels = gpt.batch(step, cards.get_data_parallel_rank(), data)
    loss = gpt.Loss()(model(tokens), labels)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    gpt.report(step, loss, cards.get_data_parallel_group())
