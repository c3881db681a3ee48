"""``python -m cellferry.jupyter -f CONNECTION_FILE``: start the cellferry kernel."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # `-m` put the working directory first; a file there named like a library must not break the kernel's start.
    if sys.path and sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]

    from ipykernel.kernelapp import IPKernelApp

    from cellferry.jupyter.kernel import CellferryKernel

    IPKernelApp.launch_instance(kernel_class=CellferryKernel)
