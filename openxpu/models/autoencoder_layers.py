"""Autoencoders: VAE, convolutional VAE, VQ-VAE, and the KL autoencoder of latent diffusion.

Sources: Kingma 2013 (VAE), Burgess 2018 (convolutional), van den Oord 2017 (VQ-VAE), Rombach 2022 (KL autoencoder). What is drawn at
random is an input, so that every device draws the same."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F

from openxpu.models.diffusion_layers import AttentionBlock, Downsample, ResidualBlock, Upsample, group_norm


class VAE(nn.Layer):
    """Pictures [batch, channels, size, size] and noise [batch, latent] to (pictures, mean, log of variance)."""

    def __init__(self, encoder: Any, width: int, latent: int, decoder: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.mean, self.spread = nn.Linear(width, latent), nn.Linear(width, latent)

    def forward(self, x: Any, noise: Any) -> Any:
        y = self.encoder(x)
        mean, spread = self.mean(y), self.spread(y)
        return self.decoder(mean + noise * paddle.exp(spread / 2)), mean, spread


class Shaped(nn.Layer):
    """x in another shape; the batch stays."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.reshape([-1, *self.shape])


def vae_mlp(inner: int = 400, latent: int = 20) -> Any:
    """The VAE of digits, 28 x 28."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, inner), nn.ReLU())
    decoder = nn.Sequential(
        nn.Linear(latent, inner), nn.ReLU(), nn.Linear(inner, 784), nn.Sigmoid(), Shaped(1, 28, 28)
    )
    return VAE(encoder, inner, latent, decoder)


def vae_conv(latent: int = 10) -> Any:
    """Burgess' VAE of pictures of 64 x 64."""
    down: list[Any] = []
    up: list[Any] = [
        nn.Linear(latent, 256),
        nn.ReLU(),
        nn.Linear(256, 256),
        nn.ReLU(),
        nn.Linear(256, 512),
        nn.ReLU(),
        Shaped(32, 4, 4),
    ]
    for inputs in (3, 32, 32, 32):
        down += [nn.Conv2D(inputs, 32, 4, 2, 1), nn.ReLU()]
    for _ in range(3):
        up += [nn.Conv2DTranspose(32, 32, 4, 2, 1), nn.ReLU()]
    head = (nn.Flatten(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
    return VAE(
        nn.Sequential(*down, *head),
        256,
        latent,
        nn.Sequential(*up, nn.Conv2DTranspose(32, 3, 4, 2, 1), nn.Sigmoid()),
    )


class VqBlock(nn.Layer):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ReLU(), nn.Conv2D(width, inner, 3, padding=1), nn.ReLU(), nn.Conv2D(inner, width, 1)
        )

    def forward(self, x: Any) -> Any:
        return x + self.body(x)


class VQVAE(nn.Layer):
    """Pictures [batch, 3, height, width] to (pictures, what the encoder pays for being far from its codes)."""

    def __init__(self, width: int = 128, inner: int = 32, codes: int = 512, depth: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2D(3, width // 2, 4, 2, 1), nn.ReLU(), nn.Conv2D(width // 2, width, 4, 2, 1), nn.ReLU(),
            nn.Conv2D(width, width, 3, padding=1), VqBlock(width, inner), VqBlock(width, inner), nn.ReLU(), nn.Conv2D(width, depth, 1),
        )  # fmt: skip
        self.codes = nn.Embedding(codes, depth, weight_attr=nn.initializer.Uniform(-1 / codes, 1 / codes))
        self.decoder = nn.Sequential(
            nn.Conv2D(depth, width, 3, padding=1), VqBlock(width, inner), VqBlock(width, inner), nn.ReLU(),
            nn.Conv2DTranspose(width, width // 2, 4, 2, 1), nn.ReLU(), nn.Conv2DTranspose(width // 2, 3, 4, 2, 1),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        z = self.encoder(x).transpose([0, 2, 3, 1])
        table = self.codes.weight
        # The square of z is the same for all codes, and would only cost digits.
        apart = (table**2).sum(1) - 2 * paddle.matmul(z, table, transpose_y=True)
        near = self.codes(apart.argmin(-1))
        paid = F.mse_loss(near, z.detach()) + 0.25 * F.mse_loss(z, near.detach())
        passed = z + (near - z).detach()  # gradients go round the choice
        return self.decoder(passed.transpose([0, 3, 1, 2])), paid


class KLAutoencoder(nn.Layer):
    """Pictures [batch, 3, height, width] and noise [batch, latent, height / 2^(levels - 1), ...] to (pictures, mean, log of variance)."""

    def __init__(
        self, width: int = 128, factors: tuple[int, ...] = (1, 2, 4, 4), latent: int = 4, blocks: int = 2
    ) -> None:
        super().__init__()
        top, deep = width, width * factors[-1]
        down: list[Any] = [nn.Conv2D(3, width, 3, padding=1)]
        for level, factor in enumerate(factors):
            for _ in range(blocks):
                down.append(ResidualBlock(top, width * factor))
                top = width * factor
            if level + 1 < len(factors):
                down.append(Downsample(top))
        middle = (ResidualBlock(deep, deep), AttentionBlock(deep, 1), ResidualBlock(deep, deep))
        self.encoder = nn.Sequential(
            *down, *middle, group_norm(deep), nn.Silu(), nn.Conv2D(deep, 2 * latent, 3, padding=1)
        )
        self.leave, self.enter = nn.Conv2D(2 * latent, 2 * latent, 1), nn.Conv2D(latent, latent, 1)
        up: list[Any] = [
            nn.Conv2D(latent, deep, 3, padding=1),
            ResidualBlock(deep, deep),
            AttentionBlock(deep, 1),
            ResidualBlock(deep, deep),
        ]
        top = deep
        for level, factor in reversed(list(enumerate(factors))):
            for _ in range(blocks + 1):
                up.append(ResidualBlock(top, width * factor))
                top = width * factor
            if level:
                up.append(Upsample(top))
        self.decoder = nn.Sequential(*up, group_norm(top), nn.Silu(), nn.Conv2D(top, 3, 3, padding=1))

    def forward(self, x: Any, noise: Any) -> Any:
        mean, spread = paddle.chunk(self.leave(self.encoder(x)), 2, 1)
        spread = paddle.clip(spread, -30.0, 20.0)
        return self.decoder(self.enter(mean + noise * paddle.exp(spread / 2))), mean, spread
