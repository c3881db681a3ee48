"""Give an array another type, shape or size in place, for every reference to it must see that.

numpy deprecates this for users (strides in 2.4, dtype, shape and ``resize`` in 2.5: an array may be shared), and keeps methods
of its own for those who cannot do without.
"""

from __future__ import annotations

import warnings
from typing import Any


def set_dtype(array: Any, dtype: Any) -> None:
    """Raises ValueError, TypeError or AttributeError where numpy does not allow it."""
    if hasattr(array, "_set_dtype"):
        array._set_dtype(dtype)
    else:
        array.dtype = dtype


def set_shape(array: Any, shape: tuple[int, ...]) -> None:
    """Raises ValueError, TypeError or AttributeError where numpy does not allow it."""
    if hasattr(array, "_set_shape"):
        array._set_shape(shape)
    else:
        array.shape = shape


def resize(array: Any, shape: tuple[int, ...]) -> None:
    """An owner that nothing looks into gets other memory. Raises ValueError where numpy does not allow it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        array.resize(shape, refcheck=False)
