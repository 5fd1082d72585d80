"""Which kind of file it is, by its bytes and never by its name; for kinds that hold no weights here, what to do."""

from __future__ import annotations

from enum import Enum

from preimage.harness.reading.bounds import Unreadable
from preimage.harness.reading.torch_files import LEGACY

HEAD = 1024  # bytes that tell


class Format(Enum):
    """Files that are read."""

    SAFETENSORS = "safetensors"
    ZIP = "a zip archive"
    LEGACY = "the older format of torch.save"
    PICKLE = "a pickle"
    TEXT_PICKLE = "a pickle of protocol 0 or 1, or none"


_AGAIN = "Fetch it again from the address of the file itself; `preimage fetch` checks what comes"
_UNPACK = "Unpack it, and give the file inside"
_OTHERS = (
    (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, as Keras writes", "Save its weights as a .safetensors file"),
    (b"\x1f\x8b", "it is compressed by gzip", _UNPACK),
    (b"BZh", "it is compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "it is compressed by xz", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive", _UNPACK),
    (b"Rar!", "it is a rar archive", _UNPACK),
    (b"\x93NUMPY", "it is one numpy array, without names", "Save the arrays as a .safetensors file"),
    (b"\x89PNG", "it is an image", ""),
    (b"\xff\xd8\xff", "it is an image", ""),
    (b"%PDF", "it is a PDF document", ""),
)


def format_of(head: bytes, size: int, suffix: str) -> Format:
    """The format of a file by its first bytes. suffix: of its name, which only names what is damaged.

    Raises Unreadable, naming what it is, for pages, pointers, archives and other files without weights.
    """
    if not size:
        raise Unreadable("it is empty", _AGAIN)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body", b"<script", b"<!--")):
        raise Unreadable(
            "it is a page of HTML, not the file: an error, a licence to accept, a request to log in", _AGAIN
        )
    if text.startswith(b"version https://git-lfs"):
        said = "it is a Git LFS pointer: a text that stands for the file"
        raise Unreadable(said, "Type `git lfs pull` where it was cloned, or fetch the file itself")
    if text.startswith((b"{", b"[{")) and suffix != ".safetensors":
        raise Unreadable("it is a text of settings (JSON), not the weights beside it")
    for magic, reason, advice in _OTHERS:
        if head.startswith(magic):
            raise Unreadable(reason, advice)
    if head[257:262] == b"ustar":
        raise Unreadable("it is a tar archive, or was saved by torch before 0.2", _UNPACK)
    return _readable(head, size, suffix)


def _readable(head: bytes, size: int, suffix: str) -> Format:
    header = int.from_bytes(head[:8], "little")
    if len(head) > 8 and head[8:9] == b"{" and (header <= size or suffix == ".safetensors"):
        return Format.SAFETENSORS
    if head.startswith(b"PK"):
        return Format.ZIP
    if head[:1] == b"\x80" and 2 <= head[1] <= 5:
        return Format.LEGACY if LEGACY in head[2:24] else Format.PICKLE
    if suffix == ".safetensors":
        raise Unreadable("it is no .safetensors file, whatever its name says, nor a checkpoint of torch", _AGAIN)
    return Format.TEXT_PICKLE
