"""A package beside the notebook."""

from .part import double

VERSION = "1"
