# Parallel training beyond the examples, each way against the same model on one card; prints as collectives.py does.
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import paddle.distributed as dist
from cases import case, run_all
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.fleet.utils import recompute
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients

sys.path.insert(0, str(Path(__file__).parent.parent.parent.parent / "examples" / "distributed"))
import gpt

paddle.set_device("xpu")
RANKS = dist.get_world_size()
strategy = fleet.DistributedStrategy()
strategy.hybrid_configs = {"dp_degree": RANKS, "mp_degree": 1, "pp_degree": 1}
fleet.init(is_collective=True, strategy=strategy)
RANK = dist.get_rank()


def train(
    part: int,
    parts: int,
    *,
    wrap: Callable[[nn.Layer], nn.Layer] = lambda model: model,
    amp: bool = False,
    clip: float | None = None,
    pieces: int = 1,
    reduced: bool = False,
) -> np.ndarray:
    """Losses of five steps; the batch of a step in `pieces` accumulated pieces. reduced: gradients are summed after the
    backward pass (Paddle's way with recomputation) and not during it."""
    model = wrap(gpt.model())
    if parts > 1 and not reduced:
        model = paddle.DataParallel(model)
    grad_clip = None if clip is None else nn.ClipGradByGlobalNorm(clip)
    optimizer = paddle.optimizer.AdamW(
        1e-3, parameters=model.parameters(), weight_decay=0.01, grad_clip=grad_clip
    )
    losses = []
    for step in range(5):
        tokens, labels = gpt.batch(step, part, parts)
        total = 0.0
        for rows, wanted in zip(tokens.split(pieces), labels.split(pieces), strict=True):
            with paddle.amp.auto_cast(enable=amp, dtype="bfloat16", level="O1"):
                loss = gpt.Loss()(model(rows), wanted) / pieces
            loss.backward()
            total = total + loss.detach()
        if parts > 1 and reduced:
            fused_allreduce_gradients(list(model.parameters()), None)
        optimizer.step()
        optimizer.clear_grad()
        if parts > 1:
            dist.all_reduce(total)
            total = total / parts
        losses.append(total.item())
    return np.array(losses)


def same(tolerance: float = 1e-5, **how: object) -> None:
    wanted = train(0, 1, **how)  # type: ignore[arg-type]
    found = train(RANK, RANKS, **how)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, wanted, atol=tolerance)


@case
def gradient_clipping() -> None:
    same(clip=0.1)


@case
def gradient_accumulation() -> None:
    same(pieces=4)


@case
def amp_bf16() -> None:
    same(tolerance=2e-3, amp=True)


@case
def recomputation() -> None:
    class Recomputed(nn.Layer):
        def __init__(self, model: nn.Layer) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: paddle.Tensor) -> paddle.Tensor:
            for layer in self.model:
                x = layer(x) if layer is self.model[0] else recompute(layer, x)
            return x

    same(wrap=Recomputed, reduced=True)


@case
def checkpoint_of_shards() -> None:
    folder = Path("shards").absolute()
    mesh = dist.ProcessMesh(list(range(RANKS)), dim_names=["x"])
    data = np.arange(8 * RANKS * RANKS, dtype="float32").reshape(4 * RANKS, 2 * RANKS)
    rows, columns = (np.split(data, RANKS, axis)[RANK] for axis in (0, 1))
    kept = dist.auto_parallel.api.dtensor_from_local(paddle.to_tensor(rows), mesh, [dist.Shard(0)])
    dist.save_state_dict({"w": kept}, str(folder))
    dist.barrier()
    # Split the other way.
    back = dist.auto_parallel.api.dtensor_from_local(paddle.zeros([4 * RANKS, 2]), mesh, [dist.Shard(1)])
    dist.load_state_dict({"w": back}, str(folder))
    np.testing.assert_array_equal(back._local_value().numpy(), columns)


run_all()
