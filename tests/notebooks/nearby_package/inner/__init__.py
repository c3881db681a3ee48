"""Deeper down."""


def twice(x):
    return x + x
