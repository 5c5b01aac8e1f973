# Kernels of messages on graphs: rows travel along edges and are combined where they arrive.
import triton
import triton.language as tl


@triton.jit
def receive(
    x, y, source, target, counts, out, edges, width, yrow,
    MESSAGE: tl.constexpr, HOW: tl.constexpr, YS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out[target[k], :] combines x[source[k], :], with y[k, :] added or multiplied, over the edges k in their order. out was
    zeroed. A program owns columns. `counts` (i32, zeroed; only for max and min) says of a row whether a message has arrived:
    each program has its own."""
    program = tl.program_id(0).to(tl.int64)
    lane = program * BLOCK + tl.arange(0, BLOCK)
    mask = lane < width
    for k in range(0, edges):
        at = out + tl.load(target + k).to(tl.int64) * width + lane
        v = tl.load(x + tl.load(source + k).to(tl.int64) * width + lane, mask=mask, other=0)
        if MESSAGE == "add":
            v += tl.load(y + k.to(tl.int64) * yrow + lane * YS, mask=mask, other=0)
        elif MESSAGE == "mul":
            v *= tl.load(y + k.to(tl.int64) * yrow + lane * YS, mask=mask, other=0)
        before = tl.load(at, mask=mask, other=0)
        if HOW == "sum":
            v += before
        else:
            arrived = counts + tl.load(target + k).to(tl.int64) * tl.num_programs(0) + program
            if tl.load(arrived) != 0:
                if HOW == "max":
                    v = tl.maximum(v, before)
                else:
                    v = tl.minimum(v, before)
            tl.store(arrived, 1)
        tl.store(at, v, mask=mask)


@triton.jit
def mean(total, count):
    """total / count, where there was something to count."""
    n = tl.where(count > 0, count, 1)
    if total.dtype.is_floating():
        return total / n.to(total.dtype)
    else:
        return total // n.to(total.dtype)


@triton.jit
def chosen(d, message, out):
    """d where the message is the extreme that was kept."""
    return tl.where(message == out, d, tl.zeros_like(d))
