"""``python -m cellferry.jupyter -f CONNECTION_FILE``: start the cellferry kernel."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    if not os.environ.get("PYTHONHASHSEED"):
        # Each Python draws its own seed for the hashes of texts; a worker can hash as this kernel does only if it is known.
        os.environ["PYTHONHASHSEED"] = str(int.from_bytes(os.urandom(4), "big"))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    # `-m` put the working directory first; a file there named like a library must not break the kernel's start.
    if sys.path and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]

    from ipykernel.kernelapp import IPKernelApp

    from cellferry.jupyter.kernel import CellferryKernel

    IPKernelApp.launch_instance(kernel_class=CellferryKernel)
