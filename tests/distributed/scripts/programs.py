# Collectives inside programs against NumPy.
import numpy as np
import paddle
import paddle.distributed as dist
from cases import case, run_all
from paddle.distributed.auto_parallel.static.process_group import new_process_group

paddle.set_device("xpu")
dist.init_parallel_env()
RANK, RANKS = dist.get_rank(), dist.get_world_size()
GROUP = new_process_group(list(range(RANKS)))
GROUP.instantiate()
DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8")


def values(rank: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(rank).integers(0, 5, (2 * RANKS, 3)).astype(dtype)


def run(operator: str, dtype: str, *attributes: int) -> np.ndarray:
    """What the program of one operator returns on this rank."""
    paddle.enable_static()
    try:
        program = paddle.static.Program()
        with paddle.static.program_guard(program):
            x = paddle.static.data("x", [2 * RANKS, 3], dtype)
            y = getattr(paddle._C_ops, operator)(x, *attributes)
        place = paddle.CustomPlace("xpu", RANK)
        return paddle.static.Executor(place).run(program, feed={"x": values(RANK, dtype)}, fetch_list=[y])[0]
    finally:
        paddle.disable_static()


def everyone(dtype: str) -> np.ndarray:
    return np.stack([values(rank, dtype) for rank in range(RANKS)])


@case
def all_reduce() -> None:
    for dtype in DTYPES:
        for kind, reduce in ((dist.ReduceType.kRedSum, np.sum), (dist.ReduceType.kRedMax, np.max)):
            np.testing.assert_array_equal(
                run("all_reduce", dtype, GROUP.id, int(kind)), reduce(everyone(dtype), axis=0).astype(dtype)
            )


@case
def all_gather() -> None:
    for dtype in DTYPES:
        wanted = everyone(dtype).reshape(-1, 3)
        np.testing.assert_array_equal(run("all_gather", dtype, GROUP.id, RANKS), wanted)


@case
def reduce_scatter() -> None:
    for dtype in DTYPES:
        wanted = everyone(dtype).sum(0).astype(dtype)[2 * RANK : 2 * RANK + 2]
        np.testing.assert_array_equal(run("reduce_scatter", dtype, GROUP.id, RANKS), wanted)


@case
def all_to_all() -> None:
    for dtype in DTYPES:
        wanted = everyone(dtype)[:, 2 * RANK : 2 * RANK + 2].reshape(-1, 3)
        np.testing.assert_array_equal(run("all_to_all", dtype, GROUP.id), wanted)


@case
def broadcast() -> None:
    for dtype in DTYPES:
        np.testing.assert_array_equal(run("broadcast", dtype, GROUP.id, 1), values(1, dtype))


run_all()
