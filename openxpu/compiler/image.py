"""The kernel image on disk: magic, format version, sha256, metadata as JSON, the ELF object (architecture.md, contract 2)."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"OXPUKRNL"
FORMAT = 1
_HEADER = struct.Struct("<8sI32sI")  # magic, format, sha256 of what follows, length of the metadata


class BadImage(Exception):
    """A file that is not a whole, unharmed image."""


@dataclass(frozen=True)
class Image:
    metadata: dict[str, Any]
    elf: bytes


def pack(image: Image) -> bytes:
    metadata = json.dumps(image.metadata, sort_keys=True).encode()
    rest = struct.pack("<I", len(metadata)) + metadata + image.elf
    return MAGIC + struct.pack("<I", FORMAT) + hashlib.sha256(rest).digest() + rest


def unpack(data: bytes) -> Image:
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise BadImage("not a kernel image")
    _, version, digest, length = _HEADER.unpack_from(data)
    if version != FORMAT:
        raise BadImage(f"image format {version}, this OpenXPU reads format {FORMAT}")
    rest = data[_HEADER.size - 4 :]
    if hashlib.sha256(rest).digest() != digest:
        raise BadImage("checksum does not match")
    start = _HEADER.size
    return Image(json.loads(data[start : start + length]), data[start + length :])


def write(path: Path, image: Image) -> int:
    """Write aside, then rename: a reader sees a whole image or none. Returns the bytes written.

    Not forced to the disk: what a power failure damages fails its checksum and is compiled again."""
    data = pack(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.replace(name, path)
    except BaseException:
        if os.path.exists(name):
            os.unlink(name)
        raise
    return len(data)


def read(path: Path) -> Image:
    return unpack(path.read_bytes())
