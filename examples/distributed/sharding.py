# Sharding: optimizer states (stage 1, "os"), gradients too (2, "os_g"), weights too (3, "p_g_os") live on one card each.
# python -m paddle.distributed.launch --devices 0,1 sharding.py os_g
import sys

import gpt
import paddle
import paddle.distributed as dist
from paddle.distributed.sharding import group_sharded_parallel

paddle.set_device("xpu")
group = dist.init_parallel_env()
model = gpt.model()
optimizer = gpt.optimizer(model.parameters())
model, optimizer, _ = group_sharded_parallel(model, optimizer, sys.argv[1] if len(sys.argv) > 1 else "os_g")
for step in range(gpt.STEPS):
    tokens, labels = gpt.batch(step, dist.get_rank(), dist.get_world_size())
    loss = gpt.Loss()(model(tokens), labels)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    gpt.report(step, loss, group)
