"""Memory of a large parcel between two processes of one machine: copied straight from one to the other (decision 006)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cellferry.parcels import vm
from cellferry.parcels.bulk import Inbox
from cellferry.parcels.parcel import Parcel


def copy_out(pid: int, parcel: Parcel, addresses: Sequence[int]) -> bool:
    """Write straight into the kernel's memory, hashing meanwhile; False if this system does not allow it."""
    rows = [(vm.address(leaf.memory), there, leaf.memory.nbytes) for leaf, there in zip(parcel.leaves, addresses, strict=True)]
    allowed = True
    with ThreadPoolExecutor(1) as pool:
        sums = pool.submit(lambda: parcel.sums)
        try:
            vm.write(pid, rows)
        except OSError:
            allowed = False
        sums.result()
    return allowed


def copy_home(pid: int, inbox: Inbox, addresses: Sequence[int]) -> bool:
    """Read straight from the kernel's memory; False if this system does not allow it."""
    rows = [(here, there, len(view)) for here, there, view in zip(inbox.addresses(), addresses, inbox.views, strict=True)]
    try:
        vm.read(pid, rows)
    except OSError:
        return False
    return True
