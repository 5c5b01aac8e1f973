# The words of Paddle's built-in XPU (XPUPlace, enable_xpu, ...) in terms of the custom device "xpu".
"""Suites were written for the device that Paddle can be built with, and say `paddle.XPUPlace(0)`, `config.enable_xpu()` or
`core.is_compiled_with_xpu()`. In the CPU wheel all of these exist and refuse; here they mean the card."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from openxpu.paddle.places import card_place, named_place

FUSION = "openxpu_inference_pass"  # csrc/paddle/inference_fusion.cc


def answers_yes_outside(original: Callable[[], bool]) -> Callable[[], bool]:
    """True for programs, which ask in order to know whether "xpu" may be used; Paddle's own modules ask in order
    to choose their built-in XPU code, which is not there."""

    @functools.wraps(original)
    def is_compiled_with_xpu() -> bool:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        return original() if caller == "paddle" or caller.startswith("paddle.") else True

    return is_compiled_with_xpu


def places(device_ids: Sequence[int] | None = None) -> list[Any]:
    """`paddle.static.xpu_places`: the places of the given cards; without numbers, of those that
    FLAGS_selected_xpus names, and without that of all."""
    import os

    from paddle.base import core

    if device_ids is None:
        selected = os.environ.get("FLAGS_selected_xpus")  # noqa: SIM112
        device_ids = (
            [int(number) for number in selected.split(",")]
            if selected
            else range(core.get_custom_device_count("xpu"))
        )
    return [card_place(int(number)) for number in device_ids]


def patch_core(core: Any) -> None:
    """Patches `paddle.base.core`, the module of C++ functions and classes."""
    core.is_compiled_with_xpu = answers_yes_outside(core.is_compiled_with_xpu)
    _patch_place(core)
    _patch_inference(core.AnalysisConfig)


def _patch_place(core: Any) -> None:
    """XPUPlace stays the class that it is, for `isinstance`; making one gives a card's place."""

    def new(cls: Any, device_id: int | None = None) -> Any:
        return named_place("xpu") if device_id is None else card_place(int(device_id))

    core.XPUPlace.__new__ = staticmethod(new)


def _patch_inference(config: Any) -> None:
    """Paddle Inference: the card by the built-in device's functions, and an error for a card that is not there (a
    predictor for one ends the process from within a destructor of Paddle)."""
    chosen: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
    own_passes: weakref.WeakKeyDictionary[Any, tuple[tuple[str, ...], bool]] = weakref.WeakKeyDictionary()
    enable_custom, enable_passes = config.enable_custom_device, config.enable_custom_passes
    switch = config.switch_ir_optim
    set_device, set_options = config.set_xpu_device_id, config.set_xpu_config
    uses, device = config.use_xpu, config.xpu_device_id

    @functools.wraps(enable_custom)
    def enable_custom_device(
        self: Any, device_type: str, device_id: int = 0, *args: Any, **keywords: Any
    ) -> Any:
        if device_type == "xpu":
            card_place(device_id)
            chosen[self] = device_id
            if self.prog_file().endswith(".json"):
                self.enable_new_executor()  # runs such programs anyway; unsaid, enable_memory_optim refuses them
                choose_passes(self)
                self.delete_pass(
                    "transfer_layout_pass"
                )  # would wrap pools in transpositions, for cards that want NHWC
        return enable_custom(self, device_type, device_id, *args, **keywords)

    def choose_passes(self: Any) -> None:
        """Paddle keeps one list, and runs it always; ours is in it unless the program wants no others than its own, or none."""
        passes, alone = own_passes.get(self, ((), False))
        fusion = [FUSION] if self.ir_optim() and not alone and FUSION not in passes else []
        enable_passes(self, [*fusion, *passes], alone)

    @functools.wraps(enable_passes)
    def enable_custom_passes(self: Any, passes: Sequence[str], custom_pass_only: bool = False) -> None:
        own_passes[self] = (tuple(passes), custom_pass_only)
        if self in chosen:
            choose_passes(self)
        else:
            enable_passes(self, list(passes), custom_pass_only)

    @functools.wraps(switch)
    def switch_ir_optim(self: Any, *args: Any, **keywords: Any) -> None:
        switch(self, *args, **keywords)
        if self in chosen:
            choose_passes(self)

    def enable_xpu(self: Any, l3_size: int = 0, *options: Any, **named_options: Any) -> None:
        """The first card. The options are about memories and number formats that a card does not have."""
        enable_custom_device(self, "xpu", 0)

    @functools.wraps(set_device)
    def set_xpu_device_id(self: Any, device_id: int = 0) -> None:
        if self not in chosen:
            set_device(self, device_id)  # says that enable_xpu comes first
        enable_custom_device(self, "xpu", device_id)

    @functools.wraps(set_options)
    def set_xpu_config(self: Any, options: Any) -> None:
        if self not in chosen:
            set_options(self, options)
        enable_custom_device(self, "xpu", options.device_id)

    @functools.wraps(uses)
    def use_xpu(self: Any) -> bool:
        return self in chosen or bool(uses(self))

    @functools.wraps(device)
    def xpu_device_id(self: Any) -> int:
        return chosen[self] if self in chosen else int(device(self))

    for function in (
        enable_custom_device, enable_custom_passes, switch_ir_optim, enable_xpu, set_xpu_device_id, set_xpu_config, use_xpu, xpu_device_id,
    ):  # fmt: skip
        setattr(config, function.__name__, function)
    if not hasattr(config, "lite_engine_enabled"):  # a question that programs for older wheels ask first
        config.lite_engine_enabled = lambda self: False
