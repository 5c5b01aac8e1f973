# Every collective of paddle.distributed against NumPy; prints "passed <name>" or "failed <name>: why" on each rank.
import numpy as np
import paddle
import paddle.distributed as dist
from cases import case, run_all

paddle.set_device("xpu")
dist.init_parallel_env()
RANK, RANKS = dist.get_rank(), dist.get_world_size()
INTEGERS = ("int8", "uint8", "int16", "int32", "int64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEX = ("complex64", "complex128")


def values(rank: int, n: int = 37) -> np.ndarray:
    """Small whole numbers, which every dtype holds exactly, sums and products of a few included."""
    return np.random.default_rng(rank).integers(1, 4, n)


def tensor(rank: int, dtype: str, n: int = 37) -> paddle.Tensor:
    return paddle.to_tensor(values(rank, n).astype("float64")).astype(dtype)


def equal(found: paddle.Tensor, wanted: np.ndarray, tolerance: float = 0.0) -> None:
    if found.dtype == paddle.bfloat16:
        found = found.astype("float32")
    np.testing.assert_allclose(found.numpy().astype("complex128"), wanted, rtol=tolerance)


def everyone(n: int = 37) -> np.ndarray:
    return np.stack([values(rank, n) for rank in range(RANKS)])


@case
def all_reduce() -> None:
    operations = {"SUM": np.sum, "MAX": np.max, "MIN": np.min, "PROD": np.prod}
    for dtype in (*INTEGERS, *FLOATS):
        for name, reduce in operations.items():
            x = tensor(RANK, dtype)
            dist.all_reduce(x, getattr(dist.ReduceOp, name))
            equal(x, reduce(everyone(), axis=0))


@case
def all_reduce_average() -> None:
    for dtype in FLOATS:
        for function in (dist.all_reduce, dist.stream.all_reduce):
            x = tensor(RANK, dtype)
            function(x, op=dist.ReduceOp.AVG)
            # Divided before it is summed: exact for two ranks and four, a rounding of each part for others.
            eps = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-23, "float64": 2**-52}[dtype]
            equal(x, everyone().mean(0), 0.0 if RANKS in (2, 4) else 2 * eps)


@case
def all_reduce_of_nothing() -> None:
    x = paddle.zeros([0, 3])
    dist.all_reduce(x)
    assert x.shape == [0, 3]


@case
def all_reduce_large() -> None:
    x = paddle.full([1 << 20], RANK + 1.0)
    dist.all_reduce(x)
    assert x.min().item() == x.max().item() == RANKS * (RANKS + 1) / 2


@case
def reduce() -> None:
    for dtype in ("int64", "float32", "bfloat16"):
        x = tensor(RANK, dtype)
        dist.reduce(x, dst=1)
        if RANK == 1:
            equal(x, everyone().sum(0))


@case
def broadcast() -> None:
    for dtype in (*INTEGERS, *FLOATS, *COMPLEX):
        x = tensor(RANK, dtype)
        dist.broadcast(x, src=1)
        equal(x, values(1))
    flag = paddle.to_tensor([RANK == 1, RANK == 0])
    dist.broadcast(flag, src=1)
    assert flag.tolist() == [True, False]


@case
def all_gather() -> None:
    for dtype in ("int8", "uint8", "int32", "int64", *FLOATS):  # Paddle splits no others
        parts: list[paddle.Tensor] = []
        dist.all_gather(parts, tensor(RANK, dtype))
        for rank, part in enumerate(parts):
            equal(part, values(rank))


@case
def reduce_scatter() -> None:
    for dtype in ("int64", "float32", "bfloat16"):
        out = paddle.zeros([5], dtype=dtype)
        dist.reduce_scatter(out, [tensor(RANK + 10 * i, dtype, 5) for i in range(RANKS)])
        equal(out, sum(values(rank + 10 * RANK, 5) for rank in range(RANKS)))
    out = paddle.zeros([5])
    dist.stream.reduce_scatter(out, tensor(RANK, "float32", 5 * RANKS), op=dist.ReduceOp.AVG)
    equal(out, everyone(5 * RANKS).mean(0)[5 * RANK : 5 * RANK + 5], 0.0 if RANKS in (2, 4) else 2**-22)


@case
def identity_of_tensor_parallel_layers() -> None:
    for dtype in (*INTEGERS, *FLOATS, *COMPLEX):
        equal(paddle._C_ops.c_identity(tensor(RANK, dtype), 0, True, True), values(RANK))


@case
def alltoall() -> None:
    out: list[paddle.Tensor] = []
    dist.alltoall(out, [tensor(10 * RANK + i, "float32") for i in range(RANKS)])
    for rank, part in enumerate(out):
        equal(part, values(10 * rank + RANK))


@case
def alltoall_single_unequal() -> None:
    # Rank r sends r + i + 1 rows to rank i.
    give = [RANK + i + 1 for i in range(RANKS)]
    x = paddle.full([sum(give), 3], RANK + 1.0)
    out = paddle.zeros([sum(give), 3])
    dist.alltoall_single(out, x, give, give)
    equal(out, np.repeat(np.arange(RANKS) + 1.0, give)[:, None] * np.ones((1, 3)))


@case
def scatter_and_gather() -> None:
    x = paddle.zeros([37])
    dist.scatter(x, [tensor(i, "float32") for i in range(RANKS)] if RANK == 0 else None, src=0)
    equal(x, values(RANK))
    parts: list[paddle.Tensor] = []
    dist.gather(x, parts, dst=0)
    if RANK == 0:
        for rank, part in enumerate(parts):
            equal(part, values(rank))


@case
def send_and_receive() -> None:
    for dtype in (*INTEGERS, *FLOATS):
        x = tensor(RANK, dtype)
        if RANK == 0:
            dist.send(x, dst=1)
        elif RANK == 1:
            dist.recv(x, src=0)
            equal(x, values(0))


@case
def ring_of_batched_messages() -> None:
    x, y = tensor(RANK, "float32", 1 << 18), paddle.zeros([1 << 18])
    after, before = (RANK + 1) % RANKS, (RANK - 1) % RANKS
    give, take = dist.P2POp(dist.isend, x, after), dist.P2POp(dist.irecv, y, before)
    for batch in ([give, take], [take, give]):
        y.zero_()
        for task in dist.batch_isend_irecv(batch):
            task.wait()
        equal(y, values(before, 1 << 18))


@case
def objects() -> None:
    found: list[object] = []
    dist.all_gather_object(found, {"rank": RANK, "text": "x" * RANK})
    assert found == [{"rank": rank, "text": "x" * rank} for rank in range(RANKS)]
    shared = [{"a": [1, 2]}, "b"] if RANK == 0 else [None, None]
    dist.broadcast_object_list(shared, src=0)
    assert shared == [{"a": [1, 2]}, "b"]
    mine: list[object] = []
    dist.scatter_object_list(mine, [[i, i] for i in range(RANKS)] if RANK == 0 else None, src=0)
    assert mine == [[RANK, RANK]]


@case
def asynchronous_on_two_groups() -> None:
    group = dist.new_group(list(range(RANKS)))
    x, y = paddle.ones([1000]), paddle.full([1000], 2.0)
    tasks = [dist.all_reduce(x, sync_op=False), dist.all_reduce(y, group=group, sync_op=False)]
    for task in tasks:
        task.wait()
    assert (x.sum() / 1000).item() == RANKS
    assert (y.sum() / 1000).item() == 2 * RANKS
    dist.barrier(group)
    dist.barrier()


def normalize_over_cards(several: paddle.nn.Layer, dtype: str = "float32", tolerance: float = 1e-5) -> None:
    """A layer with SyncBatchNorm over the rows of all ranks against BatchNorm2D on one card, two steps and gradients."""
    rows = [3 + rank for rank in range(RANKS)]  # the ranks have different numbers of them
    mine = slice(sum(rows[:RANK]), sum(rows[: RANK + 1]))
    one = paddle.nn.BatchNorm2D(3)
    for step in range(2):
        data, weight = np.random.default_rng(step).standard_normal((2, sum(rows), 3, 5, 5)).astype("float32")
        whole = paddle.to_tensor(data + 2, stop_gradient=False)
        wanted = one(whole)
        (wanted * paddle.to_tensor(weight)).sum().backward()
        part = paddle.to_tensor(data[mine] + 2).astype(dtype)
        part.stop_gradient = False
        found = several(part)
        assert found.dtype == part.dtype
        (found.astype("float32") * paddle.to_tensor(weight[mine])).sum().backward()
        near = {"rtol": 0, "atol": tolerance}
        np.testing.assert_allclose(found.astype("float32").numpy(), wanted.numpy()[mine], **near)
        np.testing.assert_allclose(part.grad.astype("float32").numpy(), whole.grad.numpy()[mine], **near)
    layer = several if isinstance(several, paddle.nn.SyncBatchNorm) else several[0]
    np.testing.assert_allclose(layer._mean.numpy(), one._mean.numpy(), **near)
    np.testing.assert_allclose(layer._variance.numpy(), one._variance.numpy(), **near)
    for name in ("weight", "bias"):
        total = getattr(layer, name).grad.clone()  # of this rank's rows
        dist.all_reduce(total)
        np.testing.assert_allclose(
            total.numpy(), getattr(one, name).grad.numpy(), rtol=0, atol=tolerance * 100
        )
    several.eval()
    one.eval()
    np.testing.assert_allclose(several(part).astype("float32").numpy(), one(whole).numpy()[mine], **near)


@case
def sync_batch_norm() -> None:
    normalize_over_cards(paddle.nn.SyncBatchNorm(3))
    normalize_over_cards(paddle.nn.SyncBatchNorm(3), "float16", 2e-2)
    normalize_over_cards(paddle.nn.SyncBatchNorm(3), "bfloat16", 1e-1)


@case
def sync_batch_norm_of_a_converted_model() -> None:
    model = paddle.nn.Sequential(paddle.nn.BatchNorm2D(3))
    normalize_over_cards(paddle.nn.SyncBatchNorm.convert_sync_batchnorm(model))


@case
def sync_batch_norm_in_a_program() -> None:
    normalize_over_cards(
        paddle.jit.to_static(paddle.nn.Sequential(paddle.nn.SyncBatchNorm(3)), full_graph=True)
    )


run_all()
