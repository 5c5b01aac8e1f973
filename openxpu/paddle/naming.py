# Makes "xpu" work wherever Paddle expects its built-in device of that name.
"""Paddle's CPU wheel knows the name twice: as the type of our custom device, and as the built-in device that this
wheel was built without. `paddle.set_device("xpu")` finds the first by itself; "xpu:0", `paddle.device.xpu.*` and a
few lists find the second, and fail. The functions below are put in their place, each after its module was
imported. Nothing changes for other device names."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from openxpu.paddle import after_import, built_in_xpu
from openxpu.paddle.places import card_place, named_place


def _accepts_xpu(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a place or a name, with "xpu" and "xpu:<n>" understood."""

    @functools.wraps(original)
    def convert(place: Any = None, *args: Any, **keywords: Any) -> Any:
        named = named_place(place)
        return original(place, *args, **keywords) if named is None else named

    return convert


def replace_everywhere(name: str, original: Any, replacement: Any) -> None:
    """Rebinds a function in every paddle module that has imported it by name."""
    # paddle.device puts a proxy of itself into sys.modules; its functions still look names up in the module behind.
    if original.__globals__.get(name) is original:
        original.__globals__[name] = replacement
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("paddle") and getattr(module, "__dict__", {}).get(name) is original:
            setattr(module, name, replacement)


def _patch_framework(module: Any) -> None:
    original = module._get_paddle_place
    replace_everywhere("_get_paddle_place", original, _accepts_xpu(original))
    compiled = module.is_compiled_with_xpu
    replace_everywhere("is_compiled_with_xpu", compiled, built_in_xpu.answers_yes_outside(compiled))
    replace_everywhere("xpu_places", module.xpu_places, built_in_xpu.places)
    built_in_xpu.patch_core(module.core)


def _patch_device(module: Any) -> None:
    original = module._convert_to_place
    replace_everywhere("_convert_to_place", original, _accepts_xpu(original))
    compiled = module.is_compiled_with_xpu
    replace_everywhere("is_compiled_with_xpu", compiled, built_in_xpu.answers_yes_outside(compiled))
    is_available = module.is_available

    @functools.wraps(is_available)
    def available() -> bool:
        return bool(is_available() or module.core.get_custom_device_count("xpu"))

    replace_everywhere("is_available", is_available, available)

    # `paddle.device("xpu:1")`, a string that programs also hand to functions which ask it for a place.
    to_place = module.Device._to_place

    @functools.wraps(to_place)
    def device_to_place(device: Any) -> Any:
        return card_place(device.index) if device.type == "xpu" else to_place(device)

    module.Device._to_place = device_to_place
    from paddle.device import xpu

    _patch_device_xpu(xpu)


def _index(device: Any) -> int:
    """The number of a card given as None (the current one), a number, a name or a place."""
    from paddle.base import core, framework

    if device is None:
        place = framework._current_expected_place_()
        return int(place.get_device_id()) if isinstance(place, core.CustomPlace) else 0
    if isinstance(device, int):
        return int(card_place(device).get_device_id())
    place = named_place(device) or device
    if not isinstance(place, core.CustomPlace) or place.get_device_type() != "xpu":
        raise ValueError(
            f"paddle.device.xpu was asked about {device!r}; it takes a number, 'xpu', 'xpu:<n>' or a place of device xpu."
        )
    return int(place.get_device_id())


def _patch_device_xpu(module: Any) -> None:
    """paddle.device.xpu in terms of the custom device's functions."""
    from paddle.device import custom_device

    core: Any = custom_device.core

    def of_card(name: str) -> Callable[..., Any]:
        function = getattr(custom_device, name)

        @functools.wraps(function)
        def call(device: Any = None) -> Any:
            return function(_index(device))

        return call

    for name in (
        "max_memory_allocated", "max_memory_reserved", "reset_max_memory_allocated", "reset_max_memory_reserved",
        "memory_allocated", "memory_reserved",
    ):  # fmt: skip
        setattr(module, name, of_card(name))

    def synchronize(device: Any = None) -> None:
        """Waits for all work of a card (of the current one when none is given)."""
        core._synchronize_custom_device("xpu", _index(device))

    def current_stream(device: Any = None) -> Any:
        """The stream that operators of a card use now."""
        return core._get_current_custom_device_stream("xpu", _index(device))

    def memory_total(device: Any = None) -> int:
        """Bytes that the card may hand out."""
        from openxpu import _runtime

        return int(_runtime.card(_index(device)).memory_stats()["limit"])

    def memory_used(device: Any = None) -> int:
        """Bytes that are handed out, to this process's allocator and to others."""
        from openxpu import _runtime

        return int(_runtime.card(_index(device)).memory_stats()["used"])

    class Stream(core.CustomDeviceStream):
        """A stream of a card: Stream(device=None, priority=2)."""

        def __init__(self, device: Any = None, priority: int = 2, blocking: bool = False) -> None:
            super().__init__("xpu", _index(device), priority, blocking=blocking)

    class Event(core.CustomDeviceEvent):
        """A point in a stream's queue: Event(enable_timing=False)."""

        def __init__(
            self,
            enable_timing: bool = False,
            blocking: bool = False,
            interprocess: bool = False,
            device: Any = None,
        ) -> None:
            super().__init__("xpu", _index(device), enable_timing, blocking, interprocess)

    def create_stream(
        device_id: Any = None, priority: int = 2, device_type: str | None = None, blocking: bool = False
    ) -> Stream:
        """A new stream of a card."""
        return Stream(device_id, priority, blocking)

    def create_event(
        enable_timing: bool = False, blocking: bool = False, interprocess: bool = False,
        device_type: str | None = None, device_id: int = 0,
    ) -> Event:  # fmt: skip
        """A new event of a card."""
        return Event(enable_timing, blocking, interprocess, device_id)

    def get_rng_state(device: Any = None) -> Any:
        """The state of a card's generator."""
        return core.default_custom_device_generator(card_place(_index(device))).get_state()

    def set_rng_state(new_state: Any, device: Any = None) -> None:
        """Sets the state of a card's generator to one that get_rng_state returned."""
        core.default_custom_device_generator(card_place(_index(device))).set_state(new_state)

    def manual_seed(seed: int) -> None:
        """Seeds the generator of the current card."""
        core.default_custom_device_generator(card_place(_index(None))).manual_seed(int(seed))

    for function in (
        synchronize, current_stream, memory_total, memory_used, Stream, Event, create_stream, create_event,
        get_rng_state, set_rng_state, manual_seed,
    ):  # fmt: skip
        setattr(module, function.__name__, function)
    module.device_count = lambda: core.get_custom_device_count("xpu")
    module.empty_cache = custom_device.empty_cache


def _patch_auto_cast(module: Any) -> None:
    """bf16 AMP is on for the custom devices of a list that has no xpu."""
    original = module._is_custom_device_bfloat16_supported

    @functools.wraps(original)
    def supported() -> bool:
        return bool(module._current_expected_place().get_device_type() == "xpu" or original())

    module._is_custom_device_bfloat16_supported = supported


_DEEPEST_HEAD = 256  # of the card's attention


def _patch_flash_attention(module: Any) -> None:
    """On a device named xpu, Paddle takes flash attention for every case; it is for most."""
    original = module._select_sdp

    @functools.wraps(original)
    def select(head_dim: int) -> str:
        chosen: str = original(head_dim)
        return "math" if chosen == "flash_attn" and head_dim > _DEEPEST_HEAD else chosen

    module._select_sdp = select


def _patch_sdpa(module: Any) -> None:
    """The same for scaled_dot_product_attention, which hands its flash attention no scale, means by causal that the first
    query sees the first key, and may have to give the mask a gradient."""
    original = module.select_sdp_for_sdpa

    @functools.wraps(original)
    def select(param: Any) -> str:
        chosen: str = original(param)
        if chosen != "flash_attn":
            return chosen
        mask = sys._getframe(1).f_locals.get("attn_mask")
        plain = (
            param.scale is None
            and len(set(param.head_dim)) == 1
            and param.head_dim[0] <= _DEEPEST_HEAD
            and (not param.is_causal or param.seq_len[0] == param.seq_len[1])
            and (mask is None or mask.stop_gradient)
        )
        return chosen if plain else "math"

    module.select_sdp_for_sdpa = select


OWN_WEIGHT_ORDER = (
    100  # an arch for which Paddle's CPU kernel makes no order either, and its gradient is let through
)


def _patch_quantized_linear(module: Any) -> None:
    """An arch stands for the order in which a graphics processor keeps quantized weights."""
    original = module._get_arch_info

    @functools.wraps(original)
    def arch() -> int:
        import paddle

        return OWN_WEIGHT_ORDER if "xpu" in paddle.get_device() else int(original())

    module._get_arch_info = arch


_PATCHES: dict[str, Callable[[Any], None]] = {
    "paddle.base.framework": _patch_framework,
    "paddle.device": _patch_device,
    "paddle.amp.auto_cast": _patch_auto_cast,
    "paddle.nn.functional.flash_attention": _patch_flash_attention,
    "paddle.nn.functional.sdpa": _patch_sdpa,
    "paddle.nn.quant.quantized_linear": _patch_quantized_linear,
}


def install() -> None:
    """Patches what is there already and waits for the rest."""
    after_import.install(_PATCHES)
