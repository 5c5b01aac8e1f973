# Tensors over a mesh of cards: every way from one split to another, against slices by NumPy. Takes any number of cards.
import itertools

import numpy as np
import paddle
import paddle.distributed as dist
from cases import case, run_all
from paddle.distributed import Partial, Replicate, Shard

paddle.set_device("xpu")
dist.init_parallel_env()
RANK, RANKS = dist.get_rank(), dist.get_world_size()
LINE = dist.ProcessMesh(list(range(RANKS)), dim_names=["x"])


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def lengths(extent: int, parts: int) -> list[int]:
    """Where the extent does not divide, the first parts are larger, and the last may be empty."""
    most = -(-extent // parts)
    return [min(most, max(0, extent - i * most)) for i in range(parts)]


def part(whole: np.ndarray, mesh: dist.ProcessMesh, placements: list) -> np.ndarray:
    """This rank's part of a tensor that is split in this way."""
    place = [int(n[0]) for n in np.nonzero(np.array(mesh.process_ids).reshape(mesh.shape) == RANK)]
    for axis, placement in enumerate(placements):
        if placement.is_shard():
            cuts = np.cumsum(lengths(whole.shape[placement.get_dim()], mesh.shape[axis]))[:-1]
            whole = np.split(whole, cuts, placement.get_dim())[place[axis]]
    return whole


def check(tensor: paddle.Tensor, whole: np.ndarray, mesh: dist.ProcessMesh, placements: list) -> None:
    assert list(tensor.shape) == list(whole.shape)
    for found, wanted in zip(tensor.placements, placements, strict=True):
        assert found.is_partial() == wanted.is_partial()
        assert found.is_replicated() == wanted.is_replicated()
        assert not wanted.is_shard() or found.is_shard(wanted.get_dim())
    if not any(placement.is_partial() for placement in placements):
        np.testing.assert_array_equal(tensor._local_value().numpy(), part(whole, mesh, placements))


def every_way(mesh: dist.ProcessMesh, whole: np.ndarray, kinds: list) -> None:
    splits = [list(p) for p in itertools.product(kinds, repeat=len(mesh.shape))]
    for before, after in itertools.product(splits, splits):
        tensor = dist.shard_tensor(paddle.to_tensor(whole), mesh, before)
        check(tensor, whole, mesh, before)
        moved = dist.reshard(tensor, mesh, after)
        check(moved, whole, mesh, after)
        back = dist.reshard(moved, mesh, [Replicate()] * len(mesh.shape))
        np.testing.assert_array_equal(back._local_value().numpy(), whole)


@case
def every_way_on_a_line() -> None:
    every_way(LINE, numbers(4 * RANKS, 2 * RANKS, 3), [Replicate(), Shard(0), Shard(1), Partial()])


@case
def every_way_of_what_does_not_divide() -> None:
    every_way(LINE, numbers(2 * RANKS + 1, 3, RANKS + 1), [Replicate(), Shard(0), Shard(2)])


@case
def every_dtype() -> None:
    for dtype in ("float64", "float16", "int64", "int32", "int8", "uint8", "bool"):
        whole = numbers(2 * RANKS, 3, dtype=dtype)
        tensor = dist.shard_tensor(paddle.to_tensor(whole), LINE, [Shard(0)])
        check(tensor, whole, LINE, [Shard(0)])
        back = dist.reshard(tensor, LINE, [Replicate()])
        np.testing.assert_array_equal(back._local_value().numpy(), whole)


@case
def sums_and_their_kinds() -> None:
    kinds = {
        dist.ReduceType.kRedSum: np.sum, dist.ReduceType.kRedMax: np.max, dist.ReduceType.kRedMin: np.min,
        dist.ReduceType.kRedAvg: np.mean,
    }  # fmt: skip
    for kind, reduce in kinds.items():
        every = np.stack([numbers(RANKS, 3) * (rank + 1) - 4 for rank in range(RANKS)])
        term = dist.auto_parallel.api.dtensor_from_local(paddle.to_tensor(every[RANK]), LINE, [Partial(kind)])
        whole = reduce(every, axis=0)
        for placement in (Replicate(), Shard(0)):
            found = dist.reshard(term, LINE, [placement])
            np.testing.assert_allclose(
                found._local_value().numpy(), part(whole, LINE, [placement]), rtol=1e-6
            )


@case
def gradients_come_back() -> None:
    whole = numbers(2 * RANKS, 3)
    x = dist.shard_tensor(paddle.to_tensor(whole, stop_gradient=False), LINE, [Shard(0)])
    y = dist.reshard(x, LINE, [Replicate()])
    (y * y).sum().backward()
    found = dist.reshard(x.grad, LINE, [Replicate()])
    np.testing.assert_array_equal(found._local_value().numpy(), 2 * whole)


@case
def products_of_split_matrices() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((4 * RANKS, 4 * RANKS)).astype("float32") for _ in range(2))
    splits = [Replicate(), Shard(0), Shard(1)]
    for left, right in itertools.product(splits, splits):
        x = dist.shard_tensor(paddle.to_tensor(a), LINE, [left])
        y = dist.shard_tensor(paddle.to_tensor(b), LINE, [right])
        found = dist.reshard(paddle.matmul(x, y), LINE, [Replicate()])
        np.testing.assert_allclose(found._local_value().numpy(), a @ b, rtol=1e-4, atol=1e-4)


@case
def from_one_mesh_to_another() -> None:
    """Halves of the cards, as stages of a pipeline."""
    half = RANKS // 2
    first, second = (
        dist.ProcessMesh(list(range(i * half, i * half + half)), dim_names=["x"]) for i in range(2)
    )
    whole = numbers(4 * half, 2 * half)
    for before, after in itertools.product([Replicate(), Shard(0), Shard(1)], repeat=2):
        tensor = dist.shard_tensor(paddle.to_tensor(whole), first, [before])
        moved = dist.reshard(tensor, second, [after])
        if RANK in second.process_ids:
            check(moved, whole, second, [after])


@case
def every_way_on_a_square() -> None:
    if RANKS % 2 or RANKS < 4:
        return
    mesh = dist.ProcessMesh(np.arange(RANKS).reshape(2, -1).tolist(), dim_names=["x", "y"])
    every_way(mesh, numbers(2 * RANKS, RANKS), [Replicate(), Shard(0), Shard(1), Partial()])


run_all()
