"""Which NVIDIA driver a new machine of AWS can be expected to have: it starts from the newest Deep Learning Base AMI."""

from __future__ import annotations

DRIVER = "580.105.08"
"""That of the images of December 2025; later ones have newer drivers, which run the same programs:
https://docs.aws.amazon.com/dlami/latest/devguide/appendix-ami-release-notes.html"""

OLD_GPUS = ("v100", "p100", "k80", "m60")
"""CUDA 13 does not know the GPUs before Turing, nor do PyTorch's builds for CUDA 12.8: theirs are those for 12.6."""
OLD_DRIVER = "560.28.03"


def driver_of(gpu: str) -> str:
    """The driver to choose packages for on a machine with this GPU ("a100"); "" without one.

    An image of the user's own (``c.Cellferry.aws_image``) may have another, which nobody can know before it runs.
    """
    if not gpu:
        return ""
    return OLD_DRIVER if gpu.startswith(OLD_GPUS) else DRIVER
