"""Lets Jupyter's kernel manager list the worker's kernel without ever starting or ending it.

``Kernel`` (kernel.py) owns the process. What Jupyter's own machinery asks of a provisioner is answered from there.
"""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase

from cellferry.worker.core import WorkerCore

KERNEL_NAME = "cellferry-guest"


class GuestSpecs(KernelSpecManager):
    """The one kernel that a worker has; the kernels installed on the machine are none of its business."""

    def get_all_specs(self) -> dict[str, Any]:
        return {KERNEL_NAME: {"resource_dir": "", "spec": self.get_kernel_spec(KERNEL_NAME).to_dict()}}

    def find_kernel_specs(self) -> dict[str, str]:
        return {KERNEL_NAME: ""}

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        if kernel_name != KERNEL_NAME:
            raise NoSuchKernel(kernel_name)
        return KernelSpec(
            display_name="cellferry worker",
            language="python",
            argv=["cellferry-guest"],
            metadata={"kernel_provisioner": {"provisioner_name": KERNEL_NAME}},
        )


class GuestProvisioner(KernelProvisionerBase):
    """Adopts the running kernel process; found by Jupyter through its entry point."""

    @property
    def _core(self) -> WorkerCore:
        from cellferry.worker.server import WorkerServer

        core: WorkerCore = WorkerServer.instance().core
        return core

    @property
    def has_process(self) -> bool:
        return self._core.kernel.view().state == "running"

    async def poll(self) -> int | None:
        return None if self.has_process else 1

    async def wait(self) -> int | None:
        return await self.poll()

    async def send_signal(self, signum: int) -> None:
        if signum == signal.SIGINT:
            self._core.kernel.interrupt()

    async def kill(self, restart: bool = False) -> None:
        await self._end(restart)

    async def terminate(self, restart: bool = False) -> None:
        await self._end(restart)

    async def _end(self, restart: bool) -> None:
        if restart:
            await asyncio.get_running_loop().run_in_executor(None, self._core.kernel.restart)
        else:
            # A worker without its kernel has no use: deleting the kernel is the wish to end the worker.
            self._core.lease.ask_end("stop")

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """The kernel runs already: its connection file says how to reach it."""
        info: KernelConnectionInfo = json.loads((self._core.folder / "kernel.json").read_text("utf-8"))
        # Jupyter compares it with its own session's key, which is bytes, whatever the type says.
        info["key"] = str(info["key"]).encode()  # type: ignore[typeddict-item]
        self.connection_info = info
        return info

    async def cleanup(self, restart: bool = False) -> None:
        """Nothing of Jupyter's own to remove."""
