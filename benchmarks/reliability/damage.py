"""Kinds of damage to the bytes of a file."""

from __future__ import annotations

import random
from collections.abc import Callable

PAGE = 4096
Damage = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def truncated(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.choice([0, 1, len(data) // 2, len(data) - 1])]


def extended(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.choice([1, PAGE]))


def zeroed(data: bytes, chance: random.Random) -> bytes:
    start = PAGE * chance.randrange(-(-len(data) // PAGE))
    return data[:start] + bytes(len(data[start : start + PAGE])) + data[start + PAGE :]


KINDS: dict[str, Damage] = {
    "flipped bit": flipped,
    "truncated": truncated,
    "extended": extended,
    "zeroed page": zeroed,
}
