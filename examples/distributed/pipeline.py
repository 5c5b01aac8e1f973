# Pipeline parallel: every card holds some of the layers; micro-batches pass through them (1F1B).
# python -m paddle.distributed.launch --devices 0,1 pipeline.py
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
model = PipelineLayer(
    gpt.layers(), topology=fleet.get_hybrid_communicate_group().topology(), loss_fn=gpt.Loss()
)
optimizer = fleet.distributed_optimizer(gpt.optimizer(model.parameters()))
model = fleet.distributed_model(model)
for step in range(gpt.STEPS):
    gpt.report(step, model.train_batch(gpt.batch(step), optimizer))
