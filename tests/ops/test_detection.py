# Detection and sequence operators on arrays, without Paddle's calls between: against NumPy and against bounds of memory.
from __future__ import annotations

import itertools

import numpy as np
import pytest
from execute import INTERPRETED, execute

from openxpu import ops
from openxpu.ops import boxes, ctc, deformable, roi, sequence, suppression

# Triton's interpreter cannot combine a scalar truth value with a tile of them.
compiled = pytest.mark.skipif(INTERPRETED, reason="the interpreter lacks an operation of the kernel")


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.skipif(INTERPRETED, reason="stages are the run time's")
def test_nms_on_arrays() -> None:
    from openxpu.runtime import from_numpy, to_numpy

    rng = np.random.default_rng(0)
    low = rng.uniform(0, 60, (70, 2))
    box = np.concatenate([low, low + rng.uniform(5, 40, low.shape)], 1)
    kept: list[int] = []
    for i, (x0, y0, x1, y1) in enumerate(box):
        others = box[kept]
        w = np.clip(np.minimum(x1, others[:, 2]) - np.maximum(x0, others[:, 0]), 0, None)
        h = np.clip(np.minimum(y1, others[:, 3]) - np.maximum(y0, others[:, 1]), 0, None)
        areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
        if not (w * h / ((x1 - x0) * (y1 - y0) + areas - w * h) > 0.3).any():
            kept.append(i)
    np.testing.assert_array_equal(to_numpy(suppression.nms(from_numpy(box), 0.3)), kept)


def test_roi_align_of_a_slope() -> None:
    """On a plane that rises evenly the mean of a bin is its middle."""
    x = np.arange(12, dtype=np.float32)[None, None, :, None] + 100 * np.arange(
        14, dtype=np.float32
    ) * np.ones((1, 3, 12, 1), np.float32)
    box = np.array([[1, 2, 9, 6]], np.float32)
    got = execute(
        roi.plan_roi_align, [x, box, np.array([1], np.int32)], [((1, 3, 2, 4), "f32")], 1.0, -1, False
    )[0]
    rows, columns = 2 + 4 * (np.arange(2) + 0.5) / 2, 1 + 8 * (np.arange(4) + 0.5) / 4
    np.testing.assert_allclose(got, np.broadcast_to(rows[:, None] + 100 * columns, (1, 3, 2, 4)), rtol=1e-5)


@compiled
def test_deformable_conv_without_offsets_is_a_convolution() -> None:
    x, w = draw(2, 5, 7, 6), draw(4, 5, 3, 3)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    want = np.einsum("nchwij,fcij->nfhw", windows, w)
    got = execute(
        deformable.plan_deformable_conv, [x, np.zeros((2, 18, 7, 6), np.float32), w, None],
        [((2, 4, 7, 6), "f32")], (1, 1), (1, 1), (1, 1), 1, 1,
    )[0]  # fmt: skip
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@compiled
def test_ctc_sums_over_all_paths() -> None:
    """Three steps, three classes: every path can be written down."""
    logits = draw(3, 1, 3).astype(np.float64)
    p = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(1, keepdims=True)
    total = 0.0
    for path in np.ndindex(3, 3, 3):
        shrunk = [s for i, s in enumerate(path) if s and (i == 0 or path[i - 1] != s)]
        if shrunk == [1, 2]:
            total += p[range(3), path].prod()
    inputs = [logits, np.array([[1, 2]], np.int32), np.array([3]), np.array([2])]
    loss, grad = execute(ctc.plan_ctc_loss, inputs, [((1, 1), "f64"), ((3, 1, 3), "f64")], 0)
    np.testing.assert_allclose(loss, [[-np.log(total)]], rtol=1e-12)
    np.testing.assert_allclose(grad.sum(-1), 0, atol=1e-12)


def test_viterbi_tries_all_paths() -> None:
    x, t = draw(2, 4, 3), draw(3, 3)
    scores, path = execute(
        sequence.plan_viterbi, [x, t, np.array([4, 2])], [((2,), "f32"), ((2, 4), "i64")], False
    )
    for i, n in enumerate((4, 2)):
        sums = {
            tags: sum(x[i, k, tag] for k, tag in enumerate(tags)) + sum(t[a, b] for a, b in itertools.pairwise(tags))
            for tags in np.ndindex(*(3,) * n)
        }  # fmt: skip
        best = max(sums, key=lambda tags: sums[tags])
        assert tuple(path[i, :n]) == best
        assert not path[i, n:].any()
        np.testing.assert_allclose(scores[i], sums[best], rtol=1e-5)


def test_edit_distance_of_words() -> None:
    def letters(*words: str) -> np.ndarray:
        return np.array([[ord(c) for c in word.ljust(9)] for word in words])

    pairs = [("kitten", "sitting", 3), ("flaw", "lawn", 2), ("", "abc", 3), ("same", "same", 0)]
    x, y, want = zip(*pairs, strict=True)
    inputs = [letters(*x), letters(*y), np.array([len(w) for w in x]), np.array([len(w) for w in y])]
    count, out = execute(sequence.plan_edit_distance, inputs, [((1,), "i64"), ((4, 1), "f32")], False)
    assert count[0] == 4
    np.testing.assert_array_equal(out[:, 0], want)


def test_decoding_undoes_encoding() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 50, (9, 2))
    prior = np.concatenate([low, low + rng.uniform(3, 40, low.shape)], 1)
    code = execute(
        boxes.plan_box_coder, [prior, None, prior], [((9, 9, 4), "f64")], True, True, 0, (0.1, 0.1, 0.2, 0.2)
    )[0]
    back = execute(
        boxes.plan_box_coder, [prior, None, code], [((9, 9, 4), "f64")], False, True, 0, (0.1, 0.1, 0.2, 0.2)
    )[0]
    np.testing.assert_allclose(back, np.broadcast_to(prior[:, None], back.shape), atol=1e-9)


def test_what_cannot_be_done_is_said() -> None:
    x, box = draw(1, 3, 5, 5), draw(2, 4)
    with pytest.raises(ops.Unsupported, match="boxes_num"):
        execute(roi.plan_roi_align, [x, box, None], [((2, 3, 2, 2), "f32")], 1.0, -1, True)
    with pytest.raises(ops.Unsupported, match="polygons"):
        execute(suppression.plan_nms, [draw(3, 8)], [((3,), "i64")], 0.5)
    with pytest.raises(ops.Unsupported, match="LoD"):
        execute(ctc.plan_ctc_loss, [draw(4, 1, 3), np.zeros((1, 1), np.int32), None, None], [((1, 1), "f32"), ((4, 1, 3), "f32")], 0)  # fmt: skip
