# Pipeline parallel: every card holds some of the layers; micro-batches pass through them (1F1B). With a number, every card
# holds that many pieces of the model instead of one, which shortens the time in which cards wait (interleaved 1F1B; from
# three cards on, and the number of micro-batches is a multiple of the number of cards).
# python -m paddle.distributed.launch --devices 0,1 pipeline.py
# GPT_LAYERS=6 python -m paddle.distributed.launch --devices 0,1,2,3 pipeline.py 2
import sys

import gpt
import paddle
import paddle.distributed as dist
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import PipelineLayer

paddle.set_device("xpu")
strategy = fleet.DistributedStrategy()
strategy.hybrid_configs = {"dp_degree": 1, "mp_degree": 1, "pp_degree": dist.get_world_size()}
strategy.pipeline_configs = {"micro_batch_size": gpt.BATCH // 4, "accumulate_steps": 4}
fleet.init(is_collective=True, strategy=strategy)
pieces = int(sys.argv[1]) if len(sys.argv) > 1 else 1
model = PipelineLayer(
    gpt.layers(),
    topology=fleet.get_hybrid_communicate_group().topology(),
    loss_fn=gpt.Loss(),
    seg_method="layer:Embedding|Block|Head" if pieces > 1 else "uniform",
    num_virtual_pipeline_stages=pieces if pieces > 1 else None,
)
optimizer = fleet.distributed_optimizer(gpt.optimizer(model.parameters()))
model = fleet.distributed_model(model)
for step in range(gpt.STEPS):
    gpt.report(step, model.train_batch(gpt.batch(step), optimizer))
