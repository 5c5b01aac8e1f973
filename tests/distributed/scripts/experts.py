# Mixtures of experts: rows over cards against NumPy, gates' counting against loops, training against one card.
import sys
from pathlib import Path

import numpy as np
import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from cases import case, run_all
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.models.moe import utils as counting
from paddle.distributed.utils.moe_utils import global_gather, global_scatter
from paddle.incubate.distributed.models.moe import GShardGate, MoELayer, SwitchGate

sys.path.insert(0, str(Path(__file__).parent.parent.parent.parent / "examples" / "distributed"))
import gpt
import mixture_of_experts as example

paddle.set_device("xpu")
fleet.init(is_collective=True)
RANK, RANKS = dist.get_rank(), dist.get_world_size()
GROUP = dist.new_group(list(range(RANKS)))
EXPERTS = 3  # of each card


def counts(seed: int, empty: bool = False) -> np.ndarray:
    """[from, to, expert]: rows that a rank sends to an expert of another."""
    found = np.random.default_rng(seed).integers(0, 4, (RANKS, RANKS, EXPERTS))
    found[:, :, 1] = 0  # nobody chooses this one
    return np.zeros_like(found) if empty else found


def sent(every: np.ndarray, rank: int) -> np.ndarray:
    """The rows of a rank, which say where they come from and where they go."""
    rows = [
        (rank, to, expert, i)
        for to in range(RANKS)
        for expert in range(EXPERTS)
        for i in range(every[rank, to, expert])
    ]
    return np.array(rows, "float32").reshape(-1, 4)


def arrived(every: np.ndarray, rank: int) -> np.ndarray:
    rows = np.concatenate([sent(every, source) for source in range(RANKS)])
    rows = rows[rows[:, 1] == rank]
    return rows[np.lexsort((rows[:, 3], rows[:, 0], rows[:, 2]))]


def there_and_back(every: np.ndarray, dtype: str) -> None:
    local, received = every[RANK].ravel(), every[:, RANK].ravel()
    mine = sent(every, RANK)
    x = paddle.to_tensor(mine).astype(dtype)
    x.stop_gradient = dtype.startswith("int")
    numbers = (paddle.to_tensor(local), paddle.to_tensor(received))
    there = global_scatter(x, *numbers, group=GROUP)
    np.testing.assert_array_equal(there.astype("float32").numpy(), arrived(every, RANK))
    back = global_gather(there, *numbers, group=GROUP)
    np.testing.assert_array_equal(back.astype("float32").numpy(), mine)
    if not x.stop_gradient:
        (there * (RANK + 1.0)).sum().backward()
        np.testing.assert_array_equal(x.grad.astype("float32").numpy(), np.tile(mine[:, 1:2] + 1, (1, 4)))


@case
def rows_travel() -> None:
    for seed, dtype in enumerate(("float32", "bfloat16", "float16", "float64", "int64")):
        there_and_back(counts(seed), dtype)


@case
def nothing_travels() -> None:
    there_and_back(counts(0, empty=True), "float32")


@case
def counting_of_gates() -> None:
    rng = np.random.default_rng(RANK)
    total = EXPERTS * RANKS
    chosen = rng.integers(-1, total, (40, 2))
    gate = paddle.to_tensor(chosen)
    number = np.bincount(chosen[chosen >= 0], minlength=total)
    np.testing.assert_array_equal(counting._number_count(gate, total).numpy(), number)
    order = counting._assign_pos(gate, paddle.cumsum(paddle.to_tensor(number), 0)).numpy()
    wanted = np.concatenate([np.flatnonzero(chosen.ravel() == expert) for expert in range(total)])
    np.testing.assert_array_equal(order, wanted)
    per_rank, capacity = rng.integers(0, 9, total), np.full(EXPERTS, 8)
    left, limited = capacity.copy(), np.zeros(total, "int64")
    for i in range(total):
        limited[i] = min(per_rank[i], left[i % EXPERTS])
        left[i % EXPERTS] -= limited[i]
    found = counting._limit_by_capacity(paddle.to_tensor(per_rank), paddle.to_tensor(capacity), RANKS)
    np.testing.assert_array_equal(found.numpy(), limited)
    left, pruned = number // 2, chosen.ravel().copy()
    for i, expert in enumerate(pruned):
        if expert >= 0:
            pruned[i] = expert if left[expert] > 0 else -1
            left[expert] -= 1
    found = counting._prune_gate_by_capacity(gate, paddle.to_tensor(number // 2), EXPERTS, RANKS)
    np.testing.assert_array_equal(found.numpy(), pruned.reshape(chosen.shape))
    value, chance = rng.random((40, 2)).astype("float32"), rng.random(40).astype("float32")
    found = counting._random_routing(gate, paddle.to_tensor(value), paddle.to_tensor(chance))
    wanted = np.stack([chosen[:, 0], np.where(2 * value[:, 1] < chance, -1, chosen[:, 1])], 1)
    np.testing.assert_array_equal(found.numpy(), wanted)


@case
def gates_with_capacities_train() -> None:
    for gate_class, choices in ((GShardGate, 2), (SwitchGate, 1)):
        gate = gate_class(gpt.WIDTH, EXPERTS, RANKS, topk=choices, group=GROUP)
        experts = nn.LayerList(nn.Linear(gpt.WIDTH, gpt.WIDTH) for _ in range(EXPERTS))
        layer = MoELayer(gpt.WIDTH, experts, gate=gate, moe_group=GROUP)
        x = paddle.randn([4, gpt.LENGTH, gpt.WIDTH])
        x.stop_gradient = False
        y = layer(x * 1.0)
        (F.mse_loss(y, paddle.ones_like(y)) + 0.1 * gate.get_loss()).backward()
        assert np.isfinite(x.grad.numpy()).all()
        assert np.abs(gate.gate.weight.grad.numpy()).max() > 0


@case
def example_is_the_model_of_one_card() -> None:
    wanted = example.train(None)
    np.testing.assert_allclose(example.train(GROUP), wanted, atol=1e-5)


run_all()
