"""Models that make pictures: generators and their discriminators, autoencoders, super-resolution and diffusion.

Each network is certified by itself: a generator learns the sample's picture, a discriminator which pictures are marked, a diffusion
network the noise of the sample. Weights are random."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Data, Model


def build(module: str, function: str, arguments: dict[str, Any]) -> Any:
    """`function` of one of the files of layers beside this one."""
    return getattr(importlib.import_module(f"openxpu.models.{module}"), function)(**arguments)


# ---- data ------------------------------------------------------------------------------------------------


def _picture(rng: np.random.Generator, batch: int, channels: int, size: int) -> np.ndarray:
    """Smooth pictures in -1..1."""
    y, x = np.mgrid[0:size, 0:size] / size
    waves = rng.uniform(0.5, 2, (batch, channels, 2))
    waved: np.ndarray = np.sin(6.3 * (waves[..., 0, None, None] * y + waves[..., 1, None, None] * x))
    return waved.astype(np.float32)


def _noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 1, shape).astype(np.float32)


def squares(outputs: Any, batch: Batch) -> Any:
    """The mean square of what is apart from the picture that is wanted."""
    return ((outputs.astype("float32") - batch["wanted"]) ** 2).mean()


def told(outputs: Any, batch: Batch) -> Any:
    """Cross-entropy of each score with the mark of its picture."""
    import paddle

    scores = outputs.astype("float32").flatten(1)
    return paddle.nn.functional.binary_cross_entropy_with_logits(scores, batch["mark"].expand_as(scores))


def evidence(outputs: Any, batch: Batch) -> Any:
    """The square of what is apart, and a hundredth of the divergence from a normal distribution."""
    import paddle

    found, mean, spread = (o.astype("float32") for o in outputs)
    apart = (1 + spread - mean**2 - paddle.exp(spread)).mean()
    return ((found - batch["image"]) ** 2).mean() - 0.005 * apart


def quantised(outputs: Any, batch: Batch) -> Any:
    found, paid = outputs
    return ((found.astype("float32") - batch["image"]) ** 2).mean() + paid.astype("float32")


def denoised(outputs: Any, batch: Batch) -> Any:
    """The mean square of what is apart from the noise; channels after those of the noise tell the variance, and are held near 0."""
    wanted, found = batch["noise"], outputs.astype("float32")
    loss = ((found[:, : wanted.shape[1]] - wanted) ** 2).mean()
    return (
        loss if found.shape[1] == wanted.shape[1] else loss + 0.1 * (found[:, wanted.shape[1] :] ** 2).mean()
    )


def from_noise(shape: tuple[int, ...], size: int) -> Data:
    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        return {"noise": _noise(rng, batch, *shape), "wanted": _picture(rng, batch, 3, size)}

    return Data(make, ("noise",), squares, {"noise": (0,)})


def marked(channels: int, size: int, dynamic: bool = False) -> Data:
    def make(extent: int, batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        mark = np.arange(batch, dtype=np.float32)[:, None] % 2
        picture = _picture(rng, batch, channels, extent) + 0.3 * _noise(rng, batch, channels, extent, extent)
        return {"image": picture.astype(np.float32), "mark": mark}

    other = functools.partial(make, size + 32) if dynamic else None
    return Data(
        functools.partial(make, size), ("image",), told, {"image": (0, 2, 3) if dynamic else (0,)}, other
    )


def translated(channels: int, size: int, factor: int = 1, dynamic: bool = True) -> Data:
    """Pictures of `size`, wanted brighter and `factor` times as large, or turned upside down."""

    def make(extent: int, batch: int, seed: int) -> Batch:
        wanted = 0.65 + 0.25 * _picture(np.random.default_rng(seed), batch, channels, extent * factor)
        image = wanted[:, :, ::factor, ::factor] if factor > 1 else wanted[:, :, ::-1]
        return {"image": image - np.float32(0.3), "wanted": wanted}

    other = functools.partial(make, size + 8) if dynamic else None
    return Data(
        functools.partial(make, size), ("image",), squares, {"image": (0, 2, 3) if dynamic else (0,)}, other
    )


def encoded(
    channels: int, size: int, latent: tuple[int, ...], loss: Callable[[Any, Batch], Any] = evidence
) -> Data:
    """Bright pictures, in 0.4..0.9; `latent`: the shape of the noise, empty for none."""

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        made = {"image": 0.65 + 0.25 * _picture(rng, batch, channels, size)}
        return made | ({"noise": _noise(rng, batch, *latent)} if latent else {})

    inputs = ("image", "noise") if latent else ("image",)
    return Data(make, inputs, loss, dict.fromkeys(inputs, (0,)))


def noised(channels: int, size: int, labels: bool = False) -> Data:
    """Pictures with noise as on a linear schedule of 1000 steps (Ho 2020)."""
    kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))

    def make(batch: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        step = rng.integers(200, 1000, batch)
        share = kept[step][:, None, None, None]
        noise = _noise(rng, batch, channels, size, size)
        image = np.sqrt(share) * _picture(rng, batch, channels, size) + np.sqrt(1 - share) * noise
        made = {"image": image.astype(np.float32), "step": step.astype(np.int64), "noise": noise}
        return made | ({"label": rng.integers(0, 1000, batch).astype(np.int64)} if labels else {})

    inputs = ("image", "step", "label") if labels else ("image", "step")
    return Data(make, inputs, denoised, dict.fromkeys(inputs, (0,)))


# ---- the models that have names --------------------------------------------------------------------------

# name: (file of layers, function, arguments, data, learning rate)
Row = tuple[str, str, dict[str, Any], Data, float]

ADVERSARIAL: dict[str, Row] = {
    "dcgan-generator": ("adversarial_layers", "dcgan_generator", {}, from_noise((100, 1, 1), 64), 1e-2),
    "dcgan-discriminator": ("adversarial_layers", "dcgan_discriminator", {}, marked(3, 64), 1e-3),
    "wgan-gp-generator": ("adversarial_layers", "WganGenerator", {}, from_noise((128,), 32), 1e-2),
    "wgan-gp-critic": ("adversarial_layers", "WganCritic", {}, marked(3, 32), 1e-2),
    "pix2pix-generator-256": (
        "adversarial_layers",
        "pix2pix_generator",
        {},
        translated(3, 256, dynamic=False),
        1e-2,
    ),
    "pix2pix-generator-128": (
        "adversarial_layers",
        "pix2pix_generator",
        {"levels": 7},
        translated(3, 128, dynamic=False),
        1e-2,
    ),
    "pix2pix-discriminator": ("adversarial_layers", "patch_discriminator", {}, marked(6, 64, True), 1e-3),
    "cyclegan-generator-9": ("adversarial_layers", "cyclegan_generator", {}, translated(3, 32), 1e-2),
    "cyclegan-generator-6": (
        "adversarial_layers",
        "cyclegan_generator",
        {"blocks": 6},
        translated(3, 32),
        1e-2,
    ),
    "cyclegan-discriminator": (
        "adversarial_layers",
        "patch_discriminator",
        {"channels": 3},
        marked(3, 64, True),
        1e-3,
    ),
    "srgan-discriminator": ("adversarial_layers", "SrganDiscriminator", {}, marked(3, 96), 1e-3),
}
AUTOENCODERS: dict[str, Row] = {
    "vae-mlp": ("autoencoder_layers", "vae_mlp", {}, encoded(1, 28, (20,)), 5e-2),
    "vae-conv": ("autoencoder_layers", "vae_conv", {}, encoded(3, 64, (10,)), 3e-1),
    "vq-vae": ("autoencoder_layers", "VQVAE", {}, encoded(3, 32, (), quantised), 5e-2),
    "autoencoder-kl-f8": ("autoencoder_layers", "KLAutoencoder", {}, encoded(3, 32, (4, 4, 4)), 1e-2),
    "autoencoder-kl-f4": (
        "autoencoder_layers",
        "KLAutoencoder",
        {"factors": (1, 2, 4), "latent": 3},
        encoded(3, 32, (3, 8, 8)),
        1e-2,
    ),
}
SUPER_RESOLUTION: dict[str, Row] = {
    f"{name}-x{factor}": ("super_resolution_layers", function, dict(arguments, factor=factor), translated(channels, 24, factor), 1e-2 if function in ("fsrcnn", "espcn") else 3e-3)
    for name, function, channels, factors, arguments in (
        ("srcnn", "srcnn", 1, (2, 3, 4), {}),
        ("vdsr", "vdsr", 1, (2, 4), {}),
        ("fsrcnn", "fsrcnn", 1, (2, 3, 4), {}),
        ("espcn", "espcn", 1, (2, 3, 4), {}),
        ("srresnet", "srresnet", 3, (2, 4), {}),
        ("edsr-baseline", "edsr", 3, (2, 3, 4), {}),
        ("edsr", "edsr", 3, (2,), {"blocks": 32, "width": 256, "scale": 0.1}),
        ("rdn", "RDN", 3, (2, 4), {}),
        ("rcan", "rcan", 3, (2,), {}),
        ("imdn", "IMDN", 3, (2, 4), {}),
    )
    for factor in factors
} | {
    "esrgan-rrdbnet-x4": ("super_resolution_layers", "RRDBNet", {}, translated(3, 16, 4), 1e-2),
    "real-esrgan-anime-x4": ("super_resolution_layers", "RRDBNet", {"blocks": 6}, translated(3, 16, 4), 1e-2),
}  # fmt: skip


def _dit(size: str, patch: int) -> Row:
    width, layers, heads = {"s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16)}[size]
    shape = {"width": width, "layers": layers, "heads": heads, "patch": patch}
    return "diffusion_layers", "DiT", shape, noised(4, 32, True), 1e-2


DIFFUSION: dict[str, Row] = {
    "ddpm-unet-cifar10": ("diffusion_layers", "DiffusionUNet", {}, noised(3, 32), 1e-2),
    "ddpm-unet-lsun": ("diffusion_layers", "DiffusionUNet", {"factors": (1, 1, 2, 2, 4, 4), "attention": (4,)}, noised(3, 64), 1e-2),
    "ldm-unet-celebahq": (
        "diffusion_layers", "DiffusionUNet",
        {"width": 224, "factors": (1, 2, 3, 4), "attention": (1, 2, 3), "head": 32}, noised(3, 16), 1e-2,
    ),
    "u-vit-s2": ("diffusion_layers", "UViT", {"width": 512, "layers": 12, "heads": 8, "patch": 2, "size": 32, "channels": 3}, noised(3, 32), 1e-2),
    "u-vit-s4": ("diffusion_layers", "UViT", {"width": 512, "layers": 12, "heads": 8, "patch": 4, "size": 64, "channels": 3}, noised(3, 64), 1e-2),
    "u-vit-m4": ("diffusion_layers", "UViT", {"width": 768, "layers": 16, "heads": 12, "patch": 4, "size": 64, "channels": 3}, noised(3, 64), 1e-2),
    **{f"dit-{size}{patch}": _dit(size, patch) for size in "sbl" for patch in (2, 4, 8)},
}  # fmt: skip


def models() -> list[Model]:
    return [
        Model(
            name,
            "generation",
            "OpenXPU",
            functools.partial(build, module, function, arguments),
            data,
            learning_rate=rate,
        )
        for rows in (ADVERSARIAL, AUTOENCODERS, SUPER_RESOLUTION, DIFFUSION)
        for name, (module, function, arguments, data, rate) in rows.items()
    ]
