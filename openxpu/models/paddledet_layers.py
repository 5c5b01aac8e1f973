"""A model of PaddleDetection, which takes and gives dictionaries, as a layer that takes and gives tensors."""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn


class Suite(nn.Layer):
    """image [batch, 3, height, width] f32, and in training the suite's `targets` -> its losses by name; else the results of its head."""

    def __init__(self, model: Any, targets: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.targets = model, targets
        self.head = model.yolo_head if hasattr(model, "yolo_head") else model.head

    def forward(self, image: Any, *given: Any) -> Any:
        return self.model(self.inputs(image, given)) if self.training else self.served(image)

    def served(self, image: Any) -> Any:
        return self.head(self.model.neck(self.model.backbone({"image": image})))

    def inputs(self, image: Any, given: Any) -> dict[str, Any]:
        """The dictionary that the suite's readers make; empty boxes of the filling are taken off where it takes lists."""
        found: dict[str, Any] = {"image": image, **dict(zip(self.targets, given))}
        batch = image.shape[0]
        found["im_shape"] = paddle.full([batch, 2], float(image.shape[2]))
        found["scale_factor"] = paddle.ones([batch, 2])
        found["im_id"] = paddle.arange(batch).unsqueeze(1)
        found["epoch_id"] = found["curr_iter"] = 0
        if type(self.model).__name__ == "RetinaNet":
            used = [int(mask.sum().item()) for mask in found["pad_gt_mask"]]
            for name in ("gt_bbox", "gt_class"):
                found[name] = [part[:count] for part, count in zip(found[name], used)]
        return found
