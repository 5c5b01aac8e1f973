# Fourier transforms, frames of signals.
from __future__ import annotations

import paddle
from conformance.draw import normal
from conformance.row import Input, row

FFT = paddle.fft
SIGNAL = paddle.signal
NORMS = [{"norm": "backward"}, {"norm": "ortho", "axis": 0}, {"norm": "forward", "axis": 1}]
SHAPES = [(8, 12), (33, 7), (5, 64), (1, 1), (3, 5, 6), (4, 97), (20, 100), (2, 4096)]
SEVERAL = [(4, 6), (2, 5, 12), (3, 8, 7), (2, 3, 4, 5)]


def halves(shapes, attrs):
    """Half a spectrum has more than one element."""
    return shapes[0][attrs.get("axis", -1)] > 1


NO_COMPLEX = "Paddle Inference has no complex tensors"
COMMON = dict(extremes="", finite=False, inference=NO_COMPLEX)

ROWS = [
    row("fft_c2c", FFT.fft, normal, shapes=SHAPES, attrs=NORMS, **COMMON),
    row("fft_c2c", FFT.ifftn, normal, name="ifftn", shapes=SEVERAL, attrs=[{"norm": "backward"}, {"norm": "ortho"}, {"norm": "forward"}], **COMMON),
    row("fft_r2c", FFT.rfft, normal, shapes=SHAPES, attrs=NORMS, **COMMON),
    row("fft_r2c", FFT.ihfft, normal, name="ihfft", shapes=SHAPES, attrs=NORMS, **COMMON),
    row("fft_r2c", FFT.fft, normal, name="fft_of_reals", shapes=SHAPES, attrs=NORMS, **COMMON),
    row("fft_r2c", FFT.rfftn, normal, name="rfftn", shapes=SEVERAL, **COMMON),
    row("fft_c2r", FFT.irfft, normal, shapes=SHAPES, attrs=NORMS, valid=halves, **COMMON),
    row("fft_c2r", FFT.hfft, normal, name="hfft", shapes=SHAPES, attrs=NORMS, valid=halves, **COMMON),
    row("fft_c2r", FFT.irfftn, normal, name="irfftn", shapes=SEVERAL, **COMMON),
    row("frame", SIGNAL.frame, normal, shapes=[(2, 50), (3, 9, 33)], attrs=[{"frame_length": 8, "hop_length": 3}, {"frame_length": 5, "hop_length": 5}], cases=[((50, 2), {"frame_length": 8, "hop_length": 3, "axis": 0})], **COMMON),
    row("overlap_add", SIGNAL.overlap_add, normal, shapes=[(2, 8, 12), (2, 3, 5, 7)], attrs=[{"hop_length": 3}, {"hop_length": 5}], cases=[((12, 8, 2), {"hop_length": 3, "axis": 0})], **COMMON),
    row("stft", lambda x, window, normalized, onesided: paddle._C_ops.stft(x, window, 64, 16, normalized, onesided), normal, Input(normal, grad=False), shapes=[((3, 400), (64,)), ((1, 64), (64,))], attrs=[{"normalized": False, "onesided": True}, {"normalized": True, "onesided": True}], static="takes gradients of complex results", layouts=(), **COMMON),
]  # fmt: skip
