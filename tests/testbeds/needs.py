"""What the testbeds need of a machine, and what to type where it is missing."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import pytest

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PACKAGES = {
    "cc": "gcc libc6-dev",
    "ip": "iproute2",
    "tc": "iproute2",
    "ss": "iproute2",
    "mount": "mount",
    "umount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "curl": "curl",
    "openssl": "openssl",
}
"""Commands, and the Debian packages they are in."""


def command(name: str) -> str:
    """Where a command lies; the folders of the system's own commands are looked at whatever PATH says."""
    found = shutil.which(name, path=SYSTEM_PATH)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: sudo apt-get install {PACKAGES.get(name, name)}")
    return found


def what_is_missing(*commands: str) -> str:
    """Why hosts cannot be made here, with what to type; empty when they can."""
    if platform.system() != "Linux":
        return "hosts in namespaces need Linux: run the tests in a virtual machine or in CI"
    if os.geteuid() != 0 or not _may_administer():
        return "hosts in namespaces need root (in a container: all its privileges): sudo make test"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlay file system: sudo modprobe overlay"
    packages = {PACKAGES[name] for name in ("ip", "nft", "nsenter", "unshare", "setpriv", *commands) if not _have(name)}
    return f"missing here: sudo apt-get install {' '.join(sorted(packages))}" if packages else ""


def need_hosts(*commands: str) -> None:
    """Skip the test that asks, or fail it where everything must be there (``CI=true``), if no host can be made here."""
    missing = what_is_missing(*commands)
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def _have(name: str) -> bool:
    return shutil.which(name, path=SYSTEM_PATH) is not None


def _may_administer() -> bool:
    """Whether CAP_SYS_ADMIN (bit 21) and CAP_NET_ADMIN (bit 12) are among this process's capabilities."""
    status = Path("/proc/self/status").read_text()
    (effective,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff"))
    return bool(effective >> 21 & 1 and effective >> 12 & 1)
