"""The boxes that a detector starts from, and which of them a sample's objects belong to. Only NumPy: data and layers share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Anchors = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Grid:
    """Places on a picture of `size`: one level for each stride, `anchors` (width, height in pixels) at each place of a level.

    `kind` of what the network says of a place: "anchor" (shift in box sizes, logarithm of scale), "distance" (to the four sides,
    in strides) or "centre" (shift and extents, in strides)."""

    size: int
    strides: tuple[int, ...]
    anchors: tuple[Anchors, ...]
    kind: str = "anchor"
    extents: tuple[int, ...] = ()  # of the maps, where they are not size / stride rounded up

    def sides(self) -> tuple[int, ...]:
        return self.extents or tuple(-(-self.size // stride) for stride in self.strides)

    def boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """(centre x, centre y, width, height) [places, 4] f32 in pixels, and the stride of each [places, 1] f32."""
        found, steps = [], []
        for side, stride, anchors in zip(self.sides(), self.strides, self.anchors, strict=True):
            y, x = np.mgrid[0:side, 0:side]
            centres = (np.stack([x, y], -1).reshape(-1, 1, 2) + 0.5) * (self.size / side)
            shapes = np.broadcast_to(np.array(anchors)[None], (side * side, len(anchors), 2))
            found.append(np.concatenate([np.broadcast_to(centres, shapes.shape), shapes], -1).reshape(-1, 4))
            steps.append(np.full((side * side * len(anchors), 1), stride))
        return np.concatenate(found).astype(np.float32), np.concatenate(steps).astype(np.float32)


def squares(strides: tuple[int, ...], scale: float) -> tuple[Anchors, ...]:
    """One square of `scale` strides on each level."""
    return tuple(((s * scale, s * scale),) for s in strides)


def ratios(
    strides: tuple[int, ...], scales: tuple[float, ...], shapes: tuple[float, ...] = (0.5, 1.0, 2.0)
) -> tuple[Anchors, ...]:
    """Boxes of the area (scale * stride)^2 with each ratio of height to width."""
    return tuple(
        tuple((s * scale / r**0.5, s * scale * r**0.5) for r in shapes for scale in scales) for s in strides
    )  # fmt: skip


def corners(boxes: np.ndarray) -> np.ndarray:
    """(centre x, centre y, width, height) to (left, top, right, bottom)."""
    return np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of corners a [n, 4] and b [m, 4]: [n, m]."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(c[:, 2:] - c[:, :2]).prod(-1) for c in (a, b)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9))


def assigned(grid: Grid, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which object (corners [n, 4]) each place belongs to, -1 for none [places], and what the network is to say [places, 4] f32.

    A place takes the object that its box overlaps by half, and every object takes the place that overlaps it most."""
    boxes, strides = grid.boxes()
    share = overlaps(corners(boxes), objects)
    owner = np.where(share.max(1) >= 0.5, share.argmax(1), -1)
    owner[share.argmax(0)] = np.arange(len(objects))
    wanted = objects[np.maximum(owner, 0)]
    centre, extent = (wanted[:, :2] + wanted[:, 2:]) / 2, wanted[:, 2:] - wanted[:, :2]
    if grid.kind == "anchor":
        said = np.concatenate([(centre - boxes[:, :2]) / boxes[:, 2:], np.log(extent / boxes[:, 2:])], 1)
    elif grid.kind == "centre":
        said = np.concatenate([(centre - boxes[:, :2]) / strides, extent / strides], 1)
    else:
        sides = np.concatenate([boxes[:, :2] - wanted[:, :2], wanted[:, 2:] - boxes[:, :2]], 1)
        said = np.clip(sides / strides, 0, 15)
    return owner, said.astype(np.float32)
