"""How much of a file is read and built: checked before memory is taken, so that a small file stays small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, TypeGuard

from preimage.harness.limits import GIB, readable

INT64 = 1 << 63
SLACK = 1 << 24  # bytes that may be built beside a file's own: headers, numbers, small tables


class Unreadable(Exception):
    """Why a file is not read: ``reason`` follows "cannot read the weights 'x': ", ``advice`` says what to do."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


class Damaged(Unreadable):
    """Bytes that are no checkpoint, or no longer one."""


@dataclass(frozen=True)
class ReadingLimits:
    """What is refused before it is read. file: bytes of a file. operations: of all pickles in it together."""

    file: int = 32 * GIB  # the largest released snapshots have 4 GB
    operations: int = 2_000_000  # a snapshot of three networks has 100,000


class Budget:
    """What may still be built from one file."""

    def __init__(self, size: int, limits: ReadingLimits) -> None:
        self.size = size
        self.bytes = 2 * size + SLACK
        self.operations = limits.operations

    def take(self, count: int) -> None:
        """Pay for bytes before they are allocated. Raises Unreadable where a file unfolds into more than it holds."""
        if count > self.bytes:
            raise Unreadable(
                f"it has {readable(self.size)} and unfolds into more than {readable(2 * self.size + SLACK)}"
            )
        self.bytes -= count

    def step(self) -> None:
        """Pay for one operation of a pickle."""
        self.operations -= 1
        if self.operations < 0:
            raise Unreadable("its pickles have more operations than any checkpoint needs")


class Stream:
    """The bytes of a file or of a part of it: never asks for more than are left, whatever lengths are declared."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.position, self.short = file, size, 0, False

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes; fewer at the end, which ``short`` then tells."""
        left = self.size - self.position
        self.short |= count > left
        found = self.file.read(max(0, min(count, left)))
        self.position += len(found)
        return found

    def readline(self) -> bytes:
        """Up to the end of a line, or of the stream."""
        found = self.file.readline(self.size - self.position)
        self.position += len(found)
        self.short |= not found.endswith(b"\n")
        return found

    def fill(self, target: memoryview) -> None:
        """Read as many bytes as the target has. Raises Unreadable where fewer are left."""
        if len(target) > self.size - self.position or self.file.readinto(target) != len(target):  # type: ignore[attr-defined]  # of every binary file
            raise truncated(self.size)
        self.position += len(target)

    def tell(self) -> int:
        """Bytes read so far."""
        return self.position


def truncated(size: int) -> Damaged:
    """The error of a file that ends too early."""
    return Damaged(f"it is truncated: it ends after {size} bytes, in the middle of its data", "Fetch it again")


def damaged(what: str) -> Damaged:
    """The error of bytes that are no checkpoint, or no longer one."""
    return Damaged(f"it is damaged: {what}", "Fetch it again")


def natural(value: object) -> TypeGuard[int]:
    """Whether a value of a file is a count that fits into 64 bits."""
    return isinstance(value, int) and 0 <= value < INT64


def shown(text: str, most: int = 80) -> str:
    """A text of a file in a message: short, and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def told(value: object) -> str:
    """A value of a file in a message: short, and printed without running anything of it."""
    if isinstance(value, str):
        return repr(value[:80])
    if isinstance(value, int):
        return str(value) if abs(value) < INT64 else "an integer of more than 64 bits"
    if isinstance(value, tuple) and len(value) < 20 and all(isinstance(v, int) for v in value):
        return f"[{', '.join(told(v) for v in value)}]"
    return f"a {type(value).__name__}"
