# Mixtures of experts over cards: rows of tokens to their experts and back, and the counting that gates do.
"""Paddle has these operators for GPUs only (global_scatter on another device ends the process). Here rows travel by an
all-to-all with unequal parts, and gates count with ordinary operators. Everything is deterministic: of the tokens of an
expert, the first ones are within its capacity."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from openxpu.paddle.naming import replace_everywhere


def _by_expert(counts: Any) -> Any:
    """Where the rows of each expert lie when they are ordered by rank: counts[rank, expert] of them."""
    starts = np.cumsum(counts.ravel()).reshape(counts.shape) - counts
    pieces = [
        np.arange(start, start + n) for start, n in zip(starts.T.ravel(), counts.T.ravel(), strict=True)
    ]
    return np.concatenate(pieces)


def _rows(x: Any, order: Any) -> Any:
    """The rows of x in another order."""
    import paddle

    if len(order) == 0 or bool((order[1:] > order[:-1]).all()):
        return x
    return paddle.index_select(x, paddle.to_tensor(order, place=x.place), 0)


def _travel(x: Any, give: Any, take: Any, group: Any) -> Any:
    """give[p] rows go to rank p, take[p] rows come from it."""
    import paddle
    from paddle import distributed

    out = paddle.empty([int(take.sum()), *x.shape[1:]], x.dtype)
    distributed.alltoall_single(out, x, [int(n) for n in give], [int(n) for n in take], group=group)
    return out


def _scatter(x: Any, local: Any, everyone: Any, group: Any) -> Any:
    """Rows ordered by rank and expert of their destination; those that arrive are ordered by expert, then rank."""
    return _rows(_travel(x, local.sum(1), everyone.sum(1), group), _by_expert(everyone))


def _gather(x: Any, local: Any, everyone: Any, group: Any) -> Any:
    """The way back."""
    return _travel(_rows(x, np.argsort(_by_expert(everyone))), everyone.sum(1), local.sum(1), group)


@functools.cache
def _exchange(there: Any, back: Any) -> Any:
    """`there` with `back` as its gradient."""
    import paddle

    class Exchange(paddle.autograd.PyLayer):
        @staticmethod
        def forward(context: Any, x: Any, *how: Any) -> Any:
            context.how = how
            return there(x, *how)

        @staticmethod
        def backward(context: Any, grad: Any) -> Any:
            return back(grad, *context.how)

    return Exchange.apply


def patch_exchange(module: Any) -> None:
    """After paddle.distributed.utils.moe_utils: global_scatter and global_gather."""

    def patched(original: Any, there: Any, back: Any) -> Any:
        @functools.wraps(original)
        def call(
            x: Any, local_count: Any, global_count: Any, group: Any = None, use_calc_stream: bool = True
        ) -> Any:
            import paddle
            from paddle import distributed

            if not paddle.in_dynamic_mode() or not x.place.is_custom_place():
                return original(x, local_count, global_count, group, use_calc_stream)
            group = group or distributed.get_group()
            if not group.is_member():
                return None
            counts = [n.numpy().reshape(group.nranks, -1) for n in (local_count, global_count)]
            return _exchange(there, back)(x, *counts, group)

        return call

    for name, there, back in (("global_scatter", _scatter, _gather), ("global_gather", _gather, _scatter)):
        original = getattr(module, name)
        replace_everywhere(name, original, patched(original, there, back))


def _chosen(experts: Any, count: int) -> Any:
    """(choices, experts): 1 where a choice is of an expert; a choice of -1 is of none."""
    import paddle

    return (experts.flatten().unsqueeze(-1) == paddle.arange(count, dtype=experts.dtype)).astype("int64")


def _number_count(numbers: Any, upper_range: int) -> Any:
    return _chosen(numbers, upper_range).sum(0)


def _assign_pos(x: Any, cum_count: Any) -> Any:
    import paddle

    chosen = int(cum_count[-1].item())
    return paddle.argsort(x.flatten(), stable=True)[x.size - chosen :]


def _limit_by_capacity(expert_count: Any, capacity: Any, n_worker: int) -> Any:
    import paddle

    counts = expert_count.reshape([n_worker, -1])
    left = capacity.astype(counts.dtype) - (paddle.cumsum(counts, 0) - counts)
    return paddle.minimum(counts, paddle.clip(left, min=0)).flatten()


def _prune_gate_by_capacity(gate_idx: Any, expert_count: Any, n_expert: int, n_worker: int) -> Any:
    import paddle

    chosen = _chosen(gate_idx, n_expert * n_worker)
    within = (paddle.cumsum(chosen, 0) <= expert_count.astype("int64")).astype("int64") * chosen
    return paddle.where(within.sum(1).reshape(gate_idx.shape) > 0, gate_idx, paddle.full_like(gate_idx, -1))


def _random_routing(topk_idx: Any, topk_value: Any, prob: Any, topk: int = 2) -> Any:
    import paddle

    if topk != 2:
        raise ValueError(f"random routing drops the second of two experts; topk={topk} was asked for")
    second = paddle.where(2 * topk_value[:, 1] < prob, paddle.full_like(topk_idx[:, 1], -1), topk_idx[:, 1])
    return paddle.stack([topk_idx[:, 0], second], 1)


def patch_gates(module: Any) -> None:
    """After paddle.distributed.models.moe.utils: what gates ask of numbers of experts on a card."""
    for own in (_number_count, _assign_pos, _limit_by_capacity, _prune_gate_by_capacity, _random_routing):
        original = getattr(module, own.__name__)
        replace_everywhere(own.__name__, original, _for_cards(original, own))


def _for_cards(original: Any, own: Any) -> Any:
    @functools.wraps(original)
    def call(first: Any, *arguments: Any, **keywords: Any) -> Any:
        import paddle

        here = paddle.in_dynamic_mode() and first.place.is_custom_place()
        return (own if here else original)(first, *arguments, **keywords)

    return call
