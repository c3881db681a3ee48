"""Whole ways through a real kernel with a real worker."""
