# Training in f16 with scaled gradients, split as the first argument says; the second is the level of AMP. Without the
# launcher: one card. The first scale is too large on purpose, so that the ranks have to agree on leaving a step out.
import sys
from pathlib import Path

import paddle
import paddle.distributed as dist
from paddle.distributed import fleet
from paddle.distributed.fleet.meta_parallel import PipelineLayer
from paddle.distributed.sharding import group_sharded_parallel

sys.path.insert(0, str(Path(__file__).parent.parent.parent.parent / "examples" / "distributed"))
import gpt

way, level = sys.argv[1], sys.argv[2]
paddle.set_device("xpu")
ranks = dist.get_world_size()
spread = ranks if way not in ("tensor", "pipeline") else 1  # over how many cards a batch is spread
if ranks > 1:
    strategy = fleet.DistributedStrategy()
    strategy.hybrid_configs = {
        "dp_degree": spread, "mp_degree": ranks if way == "tensor" else 1, "pp_degree": ranks if way == "pipeline" else 1,
    }  # fmt: skip
    strategy.pipeline_configs = {"micro_batch_size": gpt.BATCH // 4, "accumulate_steps": 4}
    fleet.init(is_collective=True, strategy=strategy)
loss_function = gpt.Loss()
if way == "pipeline" and ranks > 1:
    topology = fleet.get_hybrid_communicate_group().topology()
    model: paddle.nn.Layer = PipelineLayer(gpt.layers(), topology=topology, loss_fn=loss_function)
else:
    model = gpt.model()
optimizer = gpt.optimizer(model.parameters())
scaler = paddle.amp.GradScaler(
    init_loss_scaling=2.0**26, decr_ratio=2.0**-14, decr_every_n_nan_or_inf=1, incr_every_n_steps=1000
)
if level == "O2":
    model, optimizer = paddle.amp.decorate(
        models=model, optimizers=optimizer, level="O2", dtype="float16", master_weight=True
    )
if ranks > 1 and way in ("tensor", "pipeline", "data"):
    optimizer = fleet.distributed_optimizer(optimizer)
    model = fleet.distributed_model(model)
    scaler = fleet.distributed_scaler(scaler)
elif ranks > 1:
    kind, _, where = way.partition("-")
    model, optimizer, scaler = group_sharded_parallel(
        model, optimizer, kind, scaler=scaler, offload=where == "offload", segment_size=256
    )
for step in range(gpt.STEPS):
    tokens, labels = gpt.batch(step, dist.get_rank() if spread > 1 else 0, spread)
    with paddle.amp.auto_cast(dtype="float16", level=level):
        if way == "pipeline" and ranks > 1:
            loss = model.train_batch((tokens, labels), optimizer, scaler=scaler)
        else:
            loss = loss_function(model(tokens).astype("float32"), labels)
    if way != "pipeline" or ranks == 1:
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()
    if spread > 1:
        dist.all_reduce(loss)
        loss = loss / spread
    gpt.report(step, loss)
assert scaler.state_dict()["scale"].item() == 2.0**12
