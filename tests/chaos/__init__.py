"""The fault suite: a known notebook runs on workers while a seeded schedule of faults happens to it. ``python -m chaos``."""
