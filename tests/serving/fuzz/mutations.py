"""Changes of bytes and of values of JSON."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

# What parsers have trouble with.
TOKENS = [
    *(
        b"-1",
        b"0",
        b"1e999",
        b"-0.0",
        b"0x10",
        b"9" * 40,
        b"18446744073709551616",
        b"9223372036854775807",
        b"4294967296",
    ),
    *(b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[" * 70, b"]", b",", b":", b"null", b"true", b"NaN", b'"NaN"'),
    *(
        b"\x00",
        b"\xff",
        b"\xc0\x80",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"%00",
        b"%2e%2e/",
    ),
]
# What takes the place of a part of a valid request.
VALUES = [
    *(None, True, False, -1, 0, 1, 3, 0.5, 1e300, -1e-300, 1 << 31, 1 << 32, 1 << 48, (1 << 63) - 1, (1 << 64) - 1),
    *("", "x", "n", "y", "1", "-1", "NaN", "Infinity", "BYTES", "FP32", "FP64", "INT64", "BF16", "BOOL", "\u20ac" * 99),
    *([], [[]], {}, [1, 2, 3, 4], [[1, 2], [3, 4]], [2, 1], [0, 5], ["a", "b"], {"binary_data_size": 0}),
]
NUMBERS = (0, 1, 16, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def mutated(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Returns bytes with one to four changes; half of the time, of single bytes."""
    result = bytearray(data)
    kinds = rng.choice((2, 8))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        place = rng.randrange(len(result) + 1)
        end = min(len(result), place + rng.randint(1, 8))
        match rng.randrange(kinds):
            case 0 if place < len(result):
                result[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(result):
                result[place] = rng.randrange(256)
            case 2:
                result[place:place] = rng.randbytes(rng.randint(1, 8))
            case 3:
                del result[place:end]
            case 4:
                result[place:place] = result[place:end] * rng.randint(1, 20)
            case 5:
                del result[place:]
            case 6:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                result[place:end] = other[start : start + rng.randint(1, 40)]
            case _:
                result[place:end] = rng.choice(TOKENS)
    return bytes(result)


def altered(value: Any, rng: random.Random) -> Any:
    """Returns a value of JSON with one part replaced, removed or repeated."""
    root = [copy.deepcopy(value)]
    places: list[tuple[Any, Any]] = [(root, 0)]
    for container, key in places:  # grows
        child = container[key]
        if isinstance(child, dict | list):
            places += [(child, name) for name in (child if isinstance(child, dict) else range(len(child)))]
    container, key = rng.choice(places)
    match rng.randrange(4):
        case 0 if container is not root:
            del container[key]
        case 1 if isinstance(container, list) and container is not root:
            container += [container[key]] * rng.randint(1, 9)
        case 1 if isinstance(container, dict):
            container[str(rng.choice(VALUES))] = container.pop(key)
        case _:
            container[key] = copy.deepcopy(rng.choice(VALUES))
    return root[0]
