"""A module that is found only when its folder is on the path."""

WORD = "found on the path"
