# Tensor parallel: every card holds a part of every layer.
# python -m paddle.distributed.launch --devices 0,1 tensor_parallel.py
import gpt
import paddle
import paddle.distributed as dist
from paddle.distributed import fleet

paddle.set_device("xpu")
strategy = fleet.DistributedStrategy()
strategy.hybrid_configs = {"dp_degree": 1, "mp_degree": dist.get_world_size(), "pp_degree": 1}
fleet.init(is_collective=True, strategy=strategy)
model = gpt.model()
optimizer = fleet.distributed_optimizer(gpt.optimizer(model.parameters()))
model = fleet.distributed_model(model)
for step in range(gpt.STEPS):
    tokens, labels = gpt.batch(step)
    loss = gpt.Loss()(model(tokens), labels)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    gpt.report(step, loss)
