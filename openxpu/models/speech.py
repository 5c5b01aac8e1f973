"""Speech models: what is said and by whom, voices from text, sounds and keywords; with spectra and waves to learn from."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from openxpu.models.ocr import STEPS, next_loss, recognition_loss
from openxpu.models.registry import Batch, Data, Model

FRAMES = 98


def build(name: str) -> Any:
    from openxpu.models.speech_layers import builders

    return builders(FRAMES)[name]()


# ---- batches -------------------------------------------------------------------------------------------


def _spectrum(rng: Any, batch: int, frames: int, bands: int) -> Any:
    """Tones that glide, over noise: [batch, frames, bands] f32."""
    time, band = np.arange(frames)[:, None], np.arange(bands)
    start, slope, width = (rng.uniform(*r, (batch, 3, 1, 1)) for r in ((0, bands), (-0.3, 0.3), (1, 3)))
    tones = np.exp(-(((band - start - slope * time) / width) ** 2)).sum(1)
    return (2 * tones - 0.5 + rng.normal(0, 0.3, tones.shape)).astype(np.float32)


def _wave(rng: Any, batch: int, samples: int, voices: int = 1) -> Any:
    """Sums of four tones: [batch, voices, samples] f32, below one."""
    pitch, phase = rng.uniform(0.01, 0.2, (batch, voices, 4, 1)), rng.uniform(0, 6.3, (batch, voices, 4, 1))
    return (np.sin(pitch * np.arange(samples) + phase).mean(2) * 0.9).astype(np.float32)


def listened(frames: int, bands: int, classes: int, length: int = 5) -> Any:
    """make(batch, seed): spectra, what is said [batch, length] i32, the same behind a start and before an end, and a number."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        said = rng.integers(3, classes, (batch, length))
        ends = np.full((batch, STEPS - length), 2)
        return {
            "spectra": _spectrum(rng, batch, frames, bands),
            "target": np.concatenate([np.ones((batch, 1)), said, ends], 1)[:, :STEPS].astype(np.int64),
            "characters": said.astype(np.int32),
            "next": np.concatenate([said, ends], 1).astype(np.int64),
            "label": said[:, 0].astype(np.int64),
        }

    return make


def heard(samples: int, classes: int, length: int = 5) -> Any:
    """make(batch, seed): waves and what is said."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        return {
            "wave": _wave(rng, batch, samples),
            "characters": rng.integers(3, classes, (batch, length)).astype(np.int32),
        }

    return make


def spoken(frames: int, symbols: int, length: int = 12) -> Any:
    """make(batch, seed): symbols, how long each lasts, and the spectra, whose first `STEPS` frames come as `given` too."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        spectra = _spectrum(rng, batch, frames, 80)
        lasts = np.full((batch, length), frames // length)
        lasts[:, -1] += frames - lasts[0].sum()
        return {
            "symbols": rng.integers(1, symbols, (batch, length)).astype(np.int64),
            "durations": lasts.astype(np.int64),
            "given": np.concatenate([np.zeros_like(spectra[:, :1]), spectra[:, : STEPS - 1]], 1),
            "spectra": spectra,
        }

    return make


def sung(frames: int, rate: int = 256, bands: int = 1) -> Any:
    """make(batch, seed): spectra, noise, and the wave of `rate` samples a frame."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        return {
            "noise": rng.normal(0, 1, (batch, 1, frames * rate)).astype(np.float32),
            "spectra": _spectrum(rng, batch, frames, 80),
            "wave": _wave(rng, batch, frames * rate // bands, bands),
        }

    return make


def mixed(samples: int) -> Any:
    """make(batch, seed): two voices and their sum."""

    def make(batch: int, seed: int) -> Batch:
        voices = _wave(np.random.default_rng(seed), batch, samples, 2)
        return {"wave": voices.sum(1, keepdims=True), "voices": voices}

    return make


# ---- losses --------------------------------------------------------------------------------------------


def _both(outputs: Any, batch: Batch) -> Any:
    return 0.3 * recognition_loss(outputs[0], batch) + 0.7 * next_loss(outputs[1], batch)


def _label(outputs: Any, batch: Batch) -> Any:
    import paddle

    return paddle.nn.functional.cross_entropy(outputs.astype("float32"), batch["label"] % outputs.shape[-1])


def _sounds(outputs: Any, batch: Batch) -> Any:
    """Three sounds of the 527 are there."""
    import paddle

    wanted = paddle.nn.functional.one_hot(batch["next"][:, :3] % outputs.shape[-1], outputs.shape[-1]).max(1)
    return paddle.nn.functional.binary_cross_entropy_with_logits(outputs.astype("float32"), wanted)


def _spectra(outputs: Any, batch: Batch) -> Any:
    """Of FastSpeech 2: spectra, and durations, pitch and energy, which are steady here."""
    fine, coarse, length, pitch, energy = (o.astype("float32") for o in outputs)
    lasts = (batch["durations"].astype("float32") + 1).log().unsqueeze(-1)
    apart = sum(((f - w) ** 2).mean() for f, w in ((length, lasts), (pitch, lasts), (energy, lasts)))
    return apart + sum((f - batch["spectra"]).abs().mean() for f in (fine, coarse))


def _frames(outputs: Any, batch: Batch) -> Any:
    import paddle

    fine, coarse, stop = (o.astype("float32") for o in outputs)
    wanted = batch["spectra"][:, :STEPS]
    stops = paddle.nn.functional.binary_cross_entropy_with_logits(stop, paddle.zeros_like(stop))
    return stops + ((fine - wanted) ** 2).mean() + ((coarse - wanted) ** 2).mean()


def _waves(outputs: Any, batch: Batch) -> Any:
    return ((outputs.astype("float32") - batch["wave"]) ** 2).mean()


def _voices(outputs: Any, batch: Batch) -> Any:
    return ((outputs.astype("float32") - batch["voices"]) ** 2).mean()


# ---- the list ------------------------------------------------------------------------------------------


def _spectral(
    loss: Any, bands: int, classes: int, frames: int = FRAMES, more: int = 0, taught: bool = False
) -> Data:
    """`more`: the model takes spectra of so many frames too."""
    inputs = ("spectra", "target") if taught else ("spectra",)
    dynamic = {"spectra": (0, 1) if more else (0,), "target": (0,)}
    return Data(
        listened(frames, bands, classes),
        inputs,
        loss,
        dynamic,
        listened(more, bands, classes) if more else None,
    )


def _data() -> dict[str, tuple[Data, float]]:
    """Batches and the learning rate of each."""
    found: dict[str, tuple[Data, float]] = {}

    def add(names: str, data: Data, rate: float = 1e-2) -> None:
        found.update({name: (data, rate) for name in names.split()})

    add(
        "deepspeech2-gru deepspeech2-lstm deepspeech2-online",
        _spectral(recognition_loss, 161, 29, more=120),
        3e-2,
    )
    add("conformer-s conformer-m conformer-l", _spectral(recognition_loss, 80, 1000, 96, 128), 3e-2)
    add("conformer-u2 branchformer transformer-asr", _spectral(_both, 80, 4233, 96, 128, True), 2e-2)
    add("quartznet5x5 quartznet15x5", _spectral(recognition_loss, 64, 29, more=120), 3e-2)
    add(
        "wav2vec2-base wav2vec2-large",
        Data(heard(6400, 32), ("wave",), recognition_loss, {"wave": (0, 2)}, heard(8000, 32)),
        1e-2,
    )
    add("whisper-tiny whisper-base whisper-small", _spectral(next_loss, 80, 5000, 96, 128, True), 2e-2)
    add("ecapa-tdnn-512 ecapa-tdnn-1024 speaker-resnet34", _spectral(_label, 80, 1211, more=120))
    add("x-vector", _spectral(_label, 24, 1211, more=120), 3e-3)
    speech = spoken(48, 140)
    add(
        "fastspeech2",
        Data(
            speech,
            ("symbols", "durations"),
            _spectra,
            {"symbols": (0, 1), "durations": (0, 1)},
            spoken(60, 140, 15),
        ),
    )
    add(
        "tacotron2",
        Data(speech, ("symbols", "given"), _frames, {"symbols": (0, 1), "given": (0,)}, spoken(48, 140, 15)),
    )
    wave = Data(sung(12), ("spectra",), _waves, {"spectra": (0, 1)}, sung(16))
    add("hifigan-v1 hifigan-v2 hifigan-v3", wave, 0.1)
    add(
        "parallel-wavegan",
        Data(sung(12), ("noise", "spectra"), _waves, {"noise": (0, 2), "spectra": (0, 1)}, sung(16)),
        0.1,
    )
    add("panns-cnn6 panns-cnn10 panns-cnn14", _spectral(_sounds, 64, 527, 96, 128))
    add("ast-base ast-tiny", _spectral(_sounds, 128, 527))
    add("mdtc", _spectral(_label, 80, 100, more=120), 2e-2)
    add("ds-cnn-s ds-cnn-m ds-cnn-l", _spectral(_label, 10, 100, more=120), 2e-2)
    add("bc-resnet-1 bc-resnet-3 bc-resnet-8", _spectral(_label, 40, 100, more=120), 5e-3)
    add("kwt-1 kwt-2 kwt-3", _spectral(_label, 40, 100))
    add("conv-tasnet", Data(mixed(1600), ("wave",), _voices, {"wave": (0, 2)}, mixed(2000)), 3e-2)
    return found


def models() -> list[Model]:
    listed = ("deepspeech2", "conformer", "fastspeech2", "hifigan-v1")
    return [
        Model(
            name,
            "speech",
            "OpenXPU",
            functools.partial(build, name),
            data,
            learning_rate=rate,
            listed=name.startswith(listed),
        )
        for name, (data, rate) in _data().items()
    ]
