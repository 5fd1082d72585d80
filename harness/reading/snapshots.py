"""Pickles as NVIDIA's training writes them: tables of networks, settings and numbers, with storages as bytes inside."""

from __future__ import annotations

from io import BytesIO

from preimage.harness.reading.bounds import Budget, Stream, Unreadable, damaged, told
from preimage.harness.reading.calling import Calls, Known
from preimage.harness.reading.machine import Machine
from preimage.harness.reading.networks import NetworkRecord
from preimage.harness.reading.tensors import Storage
from preimage.harness.reading.torch_files import NAMES, honest, legacy


def network(args: tuple[object, ...], _: Budget) -> NetworkRecord:
    """torch_utils.persistence._reconstruct_persistent_obj(meta): a record; the source text in it is dropped unread.

    Raises Unreadable where the meta data are none.
    """
    match args:
        case ({"class_name": str(name), "state": dict(state)},) if all(isinstance(key, str) for key in state):
            return NetworkRecord(name, state)
        case _:
            raise damaged(f"a network of it is described by {told(args[0] if args else None)} without name and state")


def storage(args: tuple[object, ...], budget: Budget) -> Storage:
    """torch.storage._load_from_bytes(bytes): the storage in them, read as the older format of torch.save and no other.

    Raises Unreadable where they are something else, or hold anything beside that storage.
    """
    match args:
        case (bytes() | bytearray() as raw,):
            found = legacy(Stream(BytesIO(raw), len(raw)), budget)
        case _:
            raise damaged("a storage of it is made of something else than bytes")
    if not isinstance(found, Storage):
        raise Unreadable(f"the bytes of a storage in it hold {told(found)} instead")
    return found


NETWORKS = {
    **NAMES,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): Known("a persistent network", network),
    ("torch.storage", "_load_from_bytes"): Known("torch.storage._load_from_bytes", storage),
}


def snapshot(stream: Stream, budget: Budget) -> object:
    """What a pickle holds. Raises Unreadable where it cannot be read as data.

    Calls that are tolerated in the discriminators of whole snapshots are refused in files without any network.
    """
    calls = Calls(NETWORKS, budget)
    held = Machine(stream, calls, budget).load()
    values = [held, *(held.values() if isinstance(held, dict) else ())]
    return held if any(isinstance(value, NetworkRecord) for value in values) else honest(held, calls)
