# All four: data x sharding x tensor x pipeline degrees, whose product is the number of cards.
# python -m paddle.distributed.launch --devices 0,1,2,3,4,5,6,7 hybrid.py --data 1 --sharding 2 --tensor 2 --pipeline 2
import argparse

import gpt
import paddle
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import PipelineLayer

arguments = argparse.ArgumentParser()
for name in ("data", "sharding", "tensor", "pipeline"):
    arguments.add_argument(f"--{name}", type=int, default=1)
degree = arguments.parse_args()

paddle.set_device("xpu")
parts = degree.data * degree.sharding
micro = max(1, gpt.BATCH // parts // 4)  # rows of a micro-batch: a batch passes the pipeline in four
strategy = fleet.DistributedStrategy()
strategy.hybrid_configs = {
    "dp_degree": degree.data, "sharding_degree": degree.sharding,
    "mp_degree": degree.tensor, "pp_degree": degree.pipeline,
}  # fmt: skip
strategy.pipeline_configs = {"micro_batch_size": micro, "accumulate_steps": gpt.BATCH // parts // micro}
fleet.init(is_collective=True, strategy=strategy)
cards = fleet.get_hybrid_communicate_group()
model = PipelineLayer(gpt.layers(), topology=cards.topology(), loss_fn=gpt.Loss())
optimizer = fleet.distributed_optimizer(gpt.optimizer(model.parameters()))
model = fleet.distributed_model(model)
part = cards.get_data_parallel_rank() * degree.sharding + cards.get_sharding_parallel_rank()
for step in range(gpt.STEPS):
    loss = model.train_batch(gpt.batch(step, part, parts), optimizer)
    # The mean over the parts of the batch: over the sharding group, then over the data-parallel group.
    for group in (cards.get_sharding_parallel_group(), cards.get_data_parallel_group()):
        if group.nranks > 1:
            paddle.distributed.all_reduce(loss, group=group)
            loss = loss / group.nranks
    gpt.report(step, loss)
