# Every layer of paddle.nn, forward and backward: which of them still need Paddle's CPU.
"""CASES has one entry for each class. FALLS_BACK is the whole list of layers that do not run on the card alone, with the phi kernels that
they leave to the CPU: a layer that falls back without standing there fails, and so does an entry whose kernel the card has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import device, fallen

from openxpu.paddle.counters import registered_kernels

nn = paddle.nn
Make = Callable[[], Any]
Inputs = Callable[[np.random.Generator], list[Any]]

# What is no operator: containers, bases and callables without tensors.
NO_LAYERS = {
    "Layer", "LayerDict", "LayerList", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNCellBase",
    "Sequential",
}  # fmt: skip

# All of them are to come: operators of vision, of sequences, of indexing, which have groups of their own.
FALLS_BACK: dict[str, set[str]] = {
    "AdaptiveLogSoftmaxWithLoss": {"index_put", "masked_select", "nonzero", "scatter_nd_add_grad"},
    "Bilinear": {"bilinear", "bilinear_grad"},
    "CTCLoss": {"warpctc", "warpctc_grad"},
    "ChannelShuffle": {"channel_shuffle", "channel_shuffle_grad"},
    "Fold": {"fold", "fold_grad"},
    "FractionalMaxPool2D": {"fractional_max_pool2d", "fractional_max_pool2d_grad"},
    "FractionalMaxPool3D": {"fractional_max_pool3d", "fractional_max_pool3d_grad"},
    "LPPool1D": {"lp_pool2d", "lp_pool2d_grad"},
    "LPPool1d": {"lp_pool2d", "lp_pool2d_grad"},
    "LPPool2D": {"lp_pool2d", "lp_pool2d_grad"},
    "LPPool2d": {"lp_pool2d", "lp_pool2d_grad"},
    "MaxUnPool1D": {"unpool", "unpool_grad"},
    "MaxUnPool2D": {"unpool", "unpool_grad"},
    "MaxUnPool3D": {"unpool3d", "unpool3d_grad"},
    "MaxUnpool1d": {"unpool", "unpool_grad"},
    "MaxUnpool2d": {"unpool", "unpool_grad"},
    "MaxUnpool3d": {"unpool3d", "unpool3d_grad"},
    "Maxout": {"maxout", "maxout_grad"},
    "MultiLabelMarginLoss": {
        "cumprod", "index_elementwise_get", "index_elementwise_get_grad", "index_elementwise_put", "nonzero", "scatter_nd_add_grad",
    },
    "PReLU": {"prelu", "prelu_grad"},
    "PixelShuffle": {"pixel_shuffle", "pixel_shuffle_grad"},
    "PixelUnshuffle": {"pixel_unshuffle", "pixel_unshuffle_grad"},
    "RNNTLoss": {"warprnnt", "warprnnt_grad"},
    "RReLU": {"rrelu", "rrelu_grad"},
    "SpectralNorm": {"spectral_norm", "spectral_norm_grad"},
    "Unfold": {"unfold", "unfold_grad"},
    "Upsample": {"bicubic_interp", "bicubic_interp_grad"},
    "UpsamplingBilinear2D": {"bilinear_interp", "bilinear_interp_grad"},
    "UpsamplingBilinear2d": {"bilinear_interp", "bilinear_interp_grad"},
    "UpsamplingNearest2D": {"nearest_interp", "nearest_interp_grad"},
    "UpsamplingNearest2d": {"nearest_interp", "nearest_interp_grad"},
}  # fmt: skip


def floats(*shapes: tuple[int, ...]) -> Inputs:
    return lambda rng: [rng.normal(size=shape).astype(np.float32) for shape in shapes]


LINE, PLANE, VOLUME = (2, 4, 12), (2, 4, 8, 8), (2, 4, 6, 6, 6)
VECTOR = (4, 8)


def chances(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.uniform(0.1, 0.9, shape).astype(np.float32)


def signs(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.choice([-1.0, 1.0], shape).astype(np.float32)


def below(high: int, *shape: int, dtype: str = "int64") -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.integers(0, high, shape).astype(dtype)


def normal(*shape: int) -> Callable[[np.random.Generator], Any]:
    return lambda rng: rng.normal(size=shape).astype(np.float32)


def given(*makers: Callable[[np.random.Generator], Any]) -> Inputs:
    return lambda rng: [make(rng) for make in makers]


def unpool(rank: int) -> Inputs:
    """Maxima and where they were found: in every window of two."""

    def make(rng: np.random.Generator) -> list[Any]:
        extents = (4,) * rank
        places = np.arange(8**rank).reshape((8,) * rank)[(slice(None, None, 2),) * rank]
        return [
            rng.normal(size=(2, 3, *extents)).astype(np.float32),
            np.broadcast_to(places, (2, 3, *extents)).astype(np.int32).copy(),
        ]

    return make


CASES: dict[str, tuple[Make, Inputs]] = {}
for rank, shape in ((1, LINE), (2, PLANE), (3, VOLUME)):
    for kind in ("Avg", "Max"):
        for suffix in (f"{rank}D", f"{rank}d"):
            name = f"Adaptive{kind}Pool{suffix}"
            CASES[name] = (lambda name=name: getattr(nn, name)(3), floats(shape))
        CASES[f"{kind}Pool{rank}D"] = (lambda name=f"{kind}Pool{rank}D": getattr(nn, name)(2), floats(shape))
    for suffix in (f"{rank}D", f"{rank}d"):
        CASES[f"Conv{suffix}"] = (
            lambda name=f"Conv{suffix}": getattr(nn, name)(4, 6, 3, padding=1),
            floats(shape),
        )
        for kind in ("Circular", "Reflection", "Replication", "Zero"):
            CASES[f"{kind}Pad{suffix}"] = (
                lambda name=f"{kind}Pad{suffix}": getattr(nn, name)(2),
                floats(shape),
            )
        CASES[f"ConstantPad{suffix}"] = (
            lambda name=f"ConstantPad{suffix}": getattr(nn, name)(2, 1.5),
            floats(shape),
        )
    CASES[f"Pad{rank}D"] = (lambda name=f"Pad{rank}D": getattr(nn, name)(1), floats(shape))
    CASES[f"Conv{rank}DTranspose"] = (
        lambda name=f"Conv{rank}DTranspose": getattr(nn, name)(4, 6, 3, stride=2),
        floats(shape),
    )
    for kind in ("BatchNorm", "InstanceNorm"):
        CASES[f"{kind}{rank}D"] = (lambda name=f"{kind}{rank}D": getattr(nn, name)(4), floats(shape))
    for name in (f"MaxUnPool{rank}D", f"MaxUnpool{rank}d"):
        CASES[name] = (lambda name=name: getattr(nn, name)(2), unpool(rank))
for name in ("LPPool1D", "LPPool1d"):
    CASES[name] = (lambda name=name: getattr(nn, name)(2.0, 2), floats(LINE))
for name in ("LPPool2D", "LPPool2d"):
    CASES[name] = (lambda name=name: getattr(nn, name)(2.0, 2), floats(PLANE))
for name in (
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid",
    "LogSoftmax", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Silu", "Softmax", "Softplus", "Softshrink",
    "Softsign", "Swish", "Tanh", "Tanhshrink", "ThresholdedReLU", "Dropout", "AlphaDropout", "Flatten",
):  # fmt: skip
    CASES[name] = (lambda name=name: getattr(nn, name)(), floats(VECTOR))
for name in (
    "L1Loss",
    "MSELoss",
    "HuberLoss",
    "SmoothL1Loss",
    "PairwiseDistance",
    "CosineSimilarity",
    "PoissonNLLLoss",
):
    CASES[name] = (lambda name=name: getattr(nn, name)(), floats(VECTOR, VECTOR))
for name in ("TripletMarginLoss", "TripletMarginWithDistanceLoss"):
    CASES[name] = (lambda name=name: getattr(nn, name)(), floats(VECTOR, VECTOR, VECTOR))
for name in ("UpsamplingBilinear2D", "UpsamplingBilinear2d", "UpsamplingNearest2D", "UpsamplingNearest2d"):
    CASES[name] = (lambda name=name: getattr(nn, name)(scale_factor=2), floats(PLANE))
CASES |= {
    "AdaptiveLogSoftmaxWithLoss": (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10]), given(normal(6, 8), below(20, 6))),
    "BCELoss": (nn.BCELoss, given(chances(4, 8), chances(4, 8))),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss, given(normal(4, 8), chances(4, 8))),
    "BatchNorm": (lambda: nn.BatchNorm(4), floats(PLANE)),
    "BiRNN": (lambda: nn.BiRNN(nn.LSTMCell(5, 6), nn.LSTMCell(5, 6)), floats((2, 3, 5))),
    "Bilinear": (lambda: nn.Bilinear(5, 4, 6), floats((3, 5), (3, 4))),
    "CTCLoss": (
        nn.CTCLoss,
        given(normal(6, 2, 5), lambda rng: rng.integers(1, 5, (2, 3)).astype("int32"), lambda rng: np.array([6, 5]), lambda rng: np.array([3, 2])),
    ),
    "ChannelShuffle": (lambda: nn.ChannelShuffle(2), floats(PLANE)),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss, given(normal(4, 8), normal(4, 8), signs(4))),
    "CrossEntropyLoss": (nn.CrossEntropyLoss, given(normal(4, 8), below(8, 4))),
    "Dropout2D": (nn.Dropout2D, floats(PLANE)),
    "Dropout3D": (nn.Dropout3D, floats(VOLUME)),
    "Embedding": (lambda: nn.Embedding(10, 4), given(below(10, 3, 5))),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout, floats(PLANE)),
    "Fold": (lambda: nn.Fold([4, 4], 2), floats((2, 12, 9))),
    "FractionalMaxPool2D": (lambda: nn.FractionalMaxPool2D(3, random_u=0.3), floats(PLANE)),
    "FractionalMaxPool3D": (lambda: nn.FractionalMaxPool3D(3, random_u=0.3), floats(VOLUME)),
    "GRU": (lambda: nn.GRU(5, 6, num_layers=2, direction="bidirect"), floats((2, 3, 5))),
    "GRUCell": (lambda: nn.GRUCell(5, 6), floats((2, 5))),
    "GaussianNLLLoss": (nn.GaussianNLLLoss, given(normal(4, 8), normal(4, 8), chances(4, 8))),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), floats(PLANE)),
    "HSigmoidLoss": (lambda: nn.HSigmoidLoss(8, 6), given(normal(4, 8), below(6, 4, 1))),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss, given(normal(4, 8), signs(4, 8))),
    "KLDivLoss": (nn.KLDivLoss, given(normal(4, 8), chances(4, 8))),
    "LSTM": (lambda: nn.LSTM(5, 6, num_layers=2, direction="bidirect"), floats((2, 3, 5))),
    "LSTMCell": (lambda: nn.LSTMCell(5, 6), floats((2, 5))),
    "LayerNorm": (lambda: nn.LayerNorm(8), floats(VECTOR)),
    "Linear": (lambda: nn.Linear(8, 5), floats(VECTOR)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), floats(PLANE)),
    "MarginRankingLoss": (nn.MarginRankingLoss, given(normal(4), normal(4), signs(4))),
    "Maxout": (lambda: nn.Maxout(2), floats(PLANE)),
    "MultiHeadAttention": (lambda: nn.MultiHeadAttention(8, 2), floats((2, 5, 8))),
    "MultiLabelMarginLoss": (nn.MultiLabelMarginLoss, given(normal(3, 4), lambda rng: np.array([[3, 0, -1, 1], [1, -1, 2, 0], [0, 1, 2, 3]]))),
    "MultiLabelSoftMarginLoss": (nn.MultiLabelSoftMarginLoss, given(normal(4, 8), lambda rng: rng.integers(0, 2, (4, 8)).astype(np.float32))),
    "MultiMarginLoss": (nn.MultiMarginLoss, given(normal(4, 8), below(8, 4))),
    "NLLLoss": (nn.NLLLoss, given(normal(4, 8), below(8, 4))),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), floats(PLANE)),
    "PixelUnshuffle": (lambda: nn.PixelUnshuffle(2), floats(PLANE)),
    "RNN": (lambda: nn.RNN(nn.GRUCell(5, 6)), floats((2, 3, 5))),
    "RNNTLoss": (
        nn.RNNTLoss,
        given(normal(2, 4, 3, 5), lambda rng: rng.integers(1, 5, (2, 2)).astype("int32"), lambda rng: np.array([4, 3], "int32"), lambda rng: np.array([2, 1], "int32")),
    ),
    "SimpleRNN": (lambda: nn.SimpleRNN(5, 6, num_layers=2, direction="bidirect"), floats((2, 3, 5))),
    "SimpleRNNCell": (lambda: nn.SimpleRNNCell(5, 6), floats((2, 5))),
    "SoftMarginLoss": (nn.SoftMarginLoss, given(normal(4, 8), signs(4, 8))),
    "Softmax2D": (nn.Softmax2D, floats(PLANE)),
    "SpectralNorm": (lambda: nn.SpectralNorm([4, 6], power_iters=2), floats((4, 6))),
    "SyncBatchNorm": (lambda: nn.SyncBatchNorm(4), floats(PLANE)),
    "Transformer": (lambda: nn.Transformer(8, 2, 1, 1, 16), floats((2, 4, 8), (2, 3, 8))),
    "TransformerDecoder": (lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2), floats((2, 4, 8), (2, 3, 8))),
    "TransformerDecoderLayer": (lambda: nn.TransformerDecoderLayer(8, 2, 16), floats((2, 4, 8), (2, 3, 8))),
    "TransformerEncoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2), floats((2, 4, 8))),
    "TransformerEncoderLayer": (lambda: nn.TransformerEncoderLayer(8, 2, 16), floats((2, 4, 8))),
    "Unflatten": (lambda: nn.Unflatten(1, [2, 4]), floats(VECTOR)),
    "Unfold": (lambda: nn.Unfold(3), floats(PLANE)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), floats(PLANE)),
}  # fmt: skip


def tensors(result: Any) -> list[Any]:
    """Those of a nested result that gradients can come from."""
    if isinstance(result, (list, tuple)):
        return [t for part in result for t in tensors(part)]
    return [result] if isinstance(result, paddle.Tensor) and result.dtype == paddle.float32 else []


RANDOM = {"Dropout", "Dropout2D", "Dropout3D", "AlphaDropout", "FeatureAlphaDropout", "RReLU"}


def trained(name: str, place: str) -> list[np.ndarray]:
    """Outputs and gradients of one step with weights from NumPy; without dropout, so that both devices compute the same."""
    make, inputs = CASES[name]
    rng = np.random.default_rng(11)
    with device(place):
        layer = make()
        hidden = [
            p for pair in getattr(layer, "tail_weights", []) for p in pair
        ]  # which the layer does not list
        parameters = [*layer.parameters(), *hidden]
        for parameter in parameters:
            parameter.set_value(rng.normal(0, 0.4, parameter.shape).astype(np.float32))
        for sub in layer.sublayers():
            if isinstance(sub, nn.Dropout):
                sub.p = 0
            if isinstance(sub, nn.MultiHeadAttention):
                sub.dropout = 0
        given = [paddle.to_tensor(array) for array in inputs(rng)]
        for tensor in given:
            tensor.stop_gradient = tensor.dtype != paddle.float32
        outputs = tensors(layer(*given))
        loss = sum((t * paddle.to_tensor(rng.normal(size=t.shape).astype(np.float32))).sum() for t in outputs)
        if not loss.stop_gradient:
            loss.backward()
        leaves = [*given, *parameters]
        return [t.numpy() for t in [*outputs, *(leaf.grad for leaf in leaves if leaf.grad is not None)]]


def test_the_list_is_complete() -> None:
    classes = {n for n, c in vars(nn).items() if inspect.isclass(c) and issubclass(c, nn.Layer)}
    assert classes - NO_LAYERS == set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CASES))
def test_layer(name: str) -> None:
    found: list[list[np.ndarray]] = []
    fell = fallen(lambda: found.append(trained(name, "xpu")))
    if name not in RANDOM:
        with pytest.MonkeyPatch.context() as patched:
            if name == "SyncBatchNorm":  # Paddle's CPU has no kernel for it; on one card it is another layer
                patched.setitem(CASES, name, CASES["BatchNorm2D"])
            want = trained(name, "cpu")
        assert len(found[0]) == len(want)
        for a, b in zip(found[0], want, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)
    assert set(fell) == FALLS_BACK.get(name, set()) - set(registered_kernels())


@pytest.mark.slow
def test_the_list_names_no_kernel_that_the_card_has() -> None:
    native = set(registered_kernels())
    stale = {name: kernels & native for name, kernels in FALLS_BACK.items() if kernels & native}
    assert not stale, "take these out of FALLS_BACK"
