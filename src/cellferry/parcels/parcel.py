"""The two verbs: ``pack`` values into a parcel, ``unpack`` it into the other end's objects and ``settle`` it there."""

from cellferry.parcels.packing import pack, written_alone
from cellferry.parcels.plan import INLINE_BYTES, AnchorsFailed, PackPlan, Parcel, RootFailed, StateFailed
from cellferry.parcels.unpacking import Arrived, Refused, settle, split_digests, unpack, verify

__all__ = [
    "INLINE_BYTES", "AnchorsFailed", "Arrived", "PackPlan", "Parcel", "Refused", "RootFailed", "StateFailed",
    "pack", "settle", "split_digests", "unpack", "verify", "written_alone",
]  # fmt: skip
