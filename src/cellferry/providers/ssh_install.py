"""Put the worker's software on a machine with sshd, without root: our own uv makes an environment from the kit."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import uuid
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from cellferry.environment.kit import Kit
from cellferry.environment.sources import Sources, read_sources
from cellferry.environment.uv import uv_binary
from cellferry.errors import NotPermitted, Refused
from cellferry.providers.base import Progress
from cellferry.providers.ssh_connect import Connections, explained
from cellferry.providers.ssh_far import Look, install_script
from cellferry.providers.ssh_tunnel import Place, Supply

NEEDED_BYTES = 1 << 30
PUBLIC_INDEX = "pypi.org"


def own_indexes(sources: Sources) -> frozenset[Place]:
    """Host and port of each of this user's own indexes."""
    urls = map(urlsplit, (sources.default, *sources.more, *sources.find_links))
    return frozenset((url.hostname, url.port or (80 if url.scheme == "http" else 443)) for url in urls if url.hostname)


def authorities() -> Path | None:
    """The bundle of certificate authorities that this user trusts beside or instead of the usual ones, if there is one."""
    told = (os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"))
    return next((Path(path) for path in told if path and Path(path).is_file()), None)


def python_wanted() -> str:
    """This Python or a later one of the same minor version."""
    major, minor, patch = sys.version_info[:3]
    return f">={major}.{minor}.{patch},<{major}.{minor + 1}"


def supplied(supply: Supply, cache: str) -> dict[str, str]:
    """What a process there needs in its environment to get packages through us. It holds a secret.

    Where this user's network has an authority of its own, it signs what comes through here. uv begins a download anew when its
    connection breaks; with 8 tries it outlasts an ssh connection that is found dead and made again.
    """
    tries = {"UV_HTTP_RETRIES": os.environ.get("UV_HTTP_RETRIES", "8")}
    return {"HTTPS_PROXY": supply.url} | tries | ({"SSL_CERT_FILE": f"{cache}/authorities.pem"} if authorities() else {})


async def installed(connections: Connections, host: str, look: Look, kit: Kit) -> bool:
    """Whether exactly this software is there."""
    return await _has(connections, host, f"{look.cache}/software/{kit.key}/done")


async def needs_supply(connections: Connections, host: str, look: Look, kit: Kit) -> bool:
    """Whether this software, which is there, could only be installed through us: its packages will have to come so as well."""
    return await _has(connections, host, f"{look.cache}/software/{kit.key}/supplied")


async def _has(connections: Connections, host: str, path: str) -> bool:
    return (await connections.script(host, f"test -e {path} && echo yes; true\n", wait_s=30)).out.strip() == "yes"


async def install(connections: Connections, host: str, look: Look, kit: Kit, supply: Supply, progress: Progress) -> bool:
    """Bring the software there; whether its packages had to come from here. Two at once do not disturb each other.

    Raises Refused with the installer's own words, or LinkError.
    """
    _check(host, look)
    part, software = f"{look.cache}/software/.part-{uuid.uuid4().hex}", f"{look.cache}/software/{kit.key}"
    uv = f"{look.cache}/uv/{version('uv')}/uv"
    made = f"umask 077; mkdir -p {part} {look.cache}/uv/{version('uv')}; test -x {uv} && echo there; true\n"
    answer = await connections.script(host, made, wait_s=30)
    progress(f"{host}: the worker's software is sent ({kit.size_bytes >> 10} KiB and uv)")
    await _send(connections, host, kit, part, None if "there" in answer.out else uv)
    progress(f"{host}: the worker's software is installed")
    sources = read_sources(os.environ)
    await supply.open(connections, host)
    await _send_authorities(connections, host, look.cache)
    index = urlsplit(sources.default).hostname or PUBLIC_INDEX
    arguments = [word for word in sources.arguments() if not word.startswith(("/", "file:"))]
    text = install_script(part, software, uv, python_wanted(), _whole(arguments), supplied(supply, look.cache), index)
    try:
        done = await connections.script(host, text)
    except BaseException:
        await asyncio.shield(connections.script(host, f"rm -rf {part}\n", wait_s=30))
        raise
    if done.status != 0:
        await connections.script(host, f"rm -rf {part}\n", wait_s=30)
        raise Refused(
            f"the worker's software could not be installed on {host}:\n" + "\n".join((done.err + done.out).strip().splitlines()[-8:]),
            f"look at it there: ssh {host} - and try: cellferry doctor",
        )
    return "supplied" in done.out


def _check(host: str, look: Look) -> None:
    if look.system != "Linux":
        raise Refused(f"{host} runs {look.system}; a worker needs Linux", "name another machine: host=")
    if look.arch != platform.machine():
        raise Refused(
            f"{host} is a {look.arch} machine and this one is {platform.machine()}: our uv does not run there",
            "use a machine of the same kind",
        )
    if look.disk_free_bytes < NEEDED_BYTES:
        raise NotPermitted(f"{host} has {look.disk_free_bytes >> 20} MiB left in {look.home}; a worker's software needs 1 GiB", "free some")


def _whole(arguments: list[str]) -> list[str]:
    """Options whose value was a folder of this machine go with it."""
    kept: list[str] = []
    pending = iter(arguments)
    for word in pending:
        if word == "--index-strategy":
            kept += [word, next(pending)]
        elif word.startswith("--"):
            value = next(pending, "")
            if value and not value.startswith("--"):
                kept += [word, value]
    return kept


async def _send_authorities(connections: Connections, host: str, cache: str) -> None:
    import asyncssh

    bundle = authorities()
    if bundle is None:
        return
    try:
        async with (await connections.to(host)).start_sftp_client() as sftp:
            await sftp.put(str(bundle), f"{cache}/authorities.pem")
    except (asyncssh.Error, OSError) as error:
        raise explained(host, error) from error


async def _send(connections: Connections, host: str, kit: Kit, part: str, uv: str | None) -> None:
    import asyncssh

    connection = await connections.to(host)
    try:
        async with connection.start_sftp_client() as sftp:
            for wheel in kit.wheels:
                await sftp.put(str(wheel), f"{part}/{wheel.name}")
            async with sftp.open(f"{part}/requirements.txt", "w") as file:
                await file.write(kit.requirements)
            if uv is not None:
                half = f"{uv}.{uuid.uuid4().hex}"
                await sftp.put(str(Path(uv_binary())), half)
                await sftp.chmod(half, 0o700)
                await sftp.posix_rename(half, uv)
    except (asyncssh.Error, OSError) as error:
        raise explained(host, error) from error
