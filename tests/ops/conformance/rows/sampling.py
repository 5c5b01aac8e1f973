# Choosing tokens: frequencies of what was drawn, and the back pointers of a beam search.
from __future__ import annotations

import numpy as np
import paddle
from conformance.row import row
from scipy import stats

DRAWS = 4000


def frequencies(drawn: np.ndarray, chances: np.ndarray) -> None:
    """A chi-squared test of the categories of each row; those without a chance are never drawn."""
    chances = np.asarray(chances, np.float64)
    for numbers, chance in zip(
        drawn.reshape(-1, drawn.shape[-1]), chances.reshape(-1, chances.shape[-1]), strict=True
    ):
        count = np.bincount(numbers, minlength=len(chance))
        assert (count[chance == 0] == 0).all()
        likely = chance > 0
        if likely.sum() < 2:
            continue
        expected = chance[likely] / chance[likely].sum() * count.sum()
        assert stats.chisquare(count[likely], expected).pvalue > 1e-5, (count, chance)


def with_replacement(outputs, arrays, attrs):
    frequencies(outputs[0], arrays[0])


def without_replacement(outputs, arrays, attrs):
    drawn, weights = outputs[0], arrays[0]
    assert all(len(set(line)) == len(line) for line in drawn)
    # All lines have the same weights: the first of each is a draw in proportion to them.
    frequencies(drawn[:, 0][None], weights[:1])
    second = np.zeros(weights.shape[1])
    p = weights[0] / weights[0].sum()
    for i in range(len(p)):
        second += np.where(np.arange(len(p)) == i, 0, p[i] * p / (1 - p[i]))
    frequencies(drawn[:, 1][None], second[None])


def weights(d):
    return np.where(d.rng.random(d.shape) < 0.2, 0, d.rng.uniform(0.5, 2, d.shape)) + (
        np.arange(d.shape[-1]) == 0
    )


def same_lines(d):
    return np.tile(np.array([0.5, 1, 2, 1.5, 1])[: d.shape[-1]], (d.shape[0], 1))


def nucleus(outputs, arrays, attrs):
    """All rows are alike: the tokens whose running sum in falling order begins below the share, in proportion."""
    values, ids = outputs
    x, share = np.asarray(arrays[0][0], "f8"), float(arrays[1][0])
    order = np.argsort(-x, kind="stable")
    before = np.concatenate([[0], np.cumsum(x[order])[:-1]])
    chance = np.zeros(len(x))
    chance[order] = np.clip(share - before, 0, x[order])
    frequencies(ids.T, chance[None])
    np.testing.assert_array_equal(np.asarray(values)[:, 0], np.asarray(arrays[0])[0][ids[:, 0]])


def probabilities(d):
    x = np.array([0.0625, 0.1875, 0.3125, 0.25, 0.125, 0.0625] + [0.0] * (d.shape[1] - 6))
    return np.tile(x, (d.shape[0], 1))


def drawn(x, **attrs):
    paddle.seed(11)  # a test runs every call twice
    return paddle.multinomial(x, **attrs)


def token(x, share):
    paddle.seed(11)
    return paddle.tensor.top_p_sampling(x, share)


ROWS = [
    row("multinomial", drawn, weights, name="multinomial_with_replacement", shapes=[(7,), (2, 5), (1, 1), (3, 300)],
        attrs=[{"num_samples": DRAWS, "replacement": True}], check=with_replacement, extremes="", layouts=("transposed", "strided")),
    row("multinomial", drawn, same_lines, name="multinomial_without_replacement", shapes=[(DRAWS, 5)],
        attrs=[{"num_samples": 2}], check=without_replacement, extremes="", layouts=()),
    row("top_p_sampling", token, probabilities, lambda d: np.full(d.shape, 0.75 if d.shapes[0][1] > 6 else 0.4),
        shapes=[((DRAWS, 6), (DRAWS,)), ((DRAWS, 33), (DRAWS,)), ((DRAWS, 5000), (DRAWS,))], check=nucleus, extremes="", layouts=()),
]  # fmt: skip
