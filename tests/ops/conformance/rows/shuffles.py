# Pixels and channels rearranged.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import row

F = paddle.nn.functional
PACKED = [(2, 8, 3, 5), (1, 4, 1, 1), (0, 4, 2, 2), (3, 16, 7, 33), (1, 36, 2, 130)]
SPREAD = [(2, 3, 4, 6), (1, 1, 2, 2), (0, 4, 2, 2), (3, 2, 14, 66), (1, 36, 2, 130)]


def last(call):
    """With channels last: the same shapes, their channels moved to the end."""

    def channels_last(x, **a):
        return call(x.transpose([0, 2, 3, 1]), data_format="NHWC", **a)

    return channels_last


def dividing(channels):
    return lambda shapes, a: shapes[0][1] % channels(a) == 0


SHUFFLE = {
    "shapes": PACKED,
    "attrs": [{"groups": 2}, {"groups": 4}],
    "valid": dividing(lambda a: a["groups"]),
}
SHIFT = {"shapes": [(6, 4, 3, 5), (2, 1, 1, 1), (12, 33, 7, 9), (4, 8, 1, 20)],
         "attrs": [{"seg_num": 2, "shift_ratio": 0.25}, {"seg_num": 1, "shift_ratio": 0.4}, {"seg_num": 2, "shift_ratio": 0.1}]}  # fmt: skip
BLOCKS = {"attrs": [{"f": 2}, {"f": 1}, {"f": 3}]}
PACK = {**BLOCKS, "shapes": PACKED, "valid": dividing(lambda a: a["f"] ** 2)}
SPREAD_OUT = {**BLOCKS, "shapes": SPREAD, "valid": lambda s, a: s[0][2] % a["f"] == 0 == s[0][3] % a["f"]}


def pixel_shuffle(x, f, **a):
    return F.pixel_shuffle(x, f, **a)


def shuffle_channel(x, group):
    return paddle._C_ops.shuffle_channel(x, group)


def pixel_unshuffle(x, f, **a):
    return F.pixel_unshuffle(x, f, **a)


ROWS = [
    row("pixel_shuffle", pixel_shuffle, normal, **PACK),
    row("pixel_shuffle", last(pixel_shuffle), normal, name="pixel_shuffle_last", **PACK),
    row("pixel_unshuffle", pixel_unshuffle, normal, **SPREAD_OUT),
    row("pixel_unshuffle", last(pixel_unshuffle), normal, name="pixel_unshuffle_last", **SPREAD_OUT),
    row("channel_shuffle", F.channel_shuffle, normal, **SHUFFLE),
    row("channel_shuffle", last(F.channel_shuffle), normal, name="channel_shuffle_last", **SHUFFLE),
    # Paddle's CPU kernel moves as many bytes as f32 has, whatever the dtype.
    row("shuffle_channel", shuffle_channel, normal, shapes=[s for s in PACKED if s[0]],
        attrs=[{"group": 2}, {"group": 4}], finite=False,
        reference=lambda x, group: x.reshape(x.shape[0], group, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)),
    row("temporal_shift", F.temporal_shift, normal, **SHIFT),
    row("temporal_shift", last(F.temporal_shift), normal, name="temporal_shift_last", **SHIFT),
    row("crop", paddle.crop, normal, shapes=[(3, 5), (7, 33), (4, 6)], attrs=[{"shape": [2, 3], "offsets": [1, 2]}, {"shape": [3, -1], "offsets": [0, 1]}, {"shape": [1, 1]}]),
    row("crop", paddle.crop, normal, name="crop_any", shapes=[(7,), (2, 3, 4, 5)],
        attrs=[{"shape": [5], "offsets": [2]}, {"shape": [1, 3, 2, 4], "offsets": [1, 0, 1, 1]}], valid=lambda s, a: len(s[0]) == len(a["shape"])),
]  # fmt: skip
