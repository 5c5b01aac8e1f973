# Device functions of ids that are split into shards.
import triton
import triton.language as tl


@triton.jit
def shard_index(x, shard_size, shard, ignored):
    """The place of an id in its shard, `ignored` for ids of other shards."""
    begin = shard * shard_size
    return tl.where((x >= begin) & (x < begin + shard_size), x - begin, ignored.to(x.dtype))
