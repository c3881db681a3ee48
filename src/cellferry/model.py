"""The nouns of cellferry: frozen, typed, without I/O. Wire and stored fields are only ever added, with defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NewType

WorkerId = NewType("WorkerId", str)
"""Random name of a worker, unique for ever; safe in file names."""

PROTOCOL = 3
"""Version of what client and worker say to each other; a different one is a clear error at hello."""

Message = dict[str, object]
"""A Jupyter message as a dict: ``header``, ``parent_header``, ``metadata``, ``content``, ``buffers``, ``msg_type``."""


@dataclass(frozen=True)
class Hardware:
    """What a cell asks for. ``None`` means: do not care. Sizes in bytes."""

    gpu: str | None = None
    """GPU name in lower case ("a100"), or None."""
    gpu_count: int = 0
    gpu_memory_bytes: int | None = None
    """Least memory of one GPU (``gpu=80G``)."""
    cpus: int | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None


@dataclass(frozen=True)
class EnvironmentChoice:
    """In what the kernel of a new worker runs. ``kind`` "shared": the worker's own interpreter and packages;
    "made": an environment of its own, taken by the ``key`` of its lock; "python": the interpreter ``python`` there."""

    kind: Literal["shared", "made", "python"] = "shared"
    key: str = ""
    python: str = ""
    """Version ("3.11") for "made", path for "python"."""


@dataclass(frozen=True)
class CellRequest:
    """One ``%%remote`` line, parsed. Built by ``capture.request.parse_request`` only.

    ``usd`` amounts are integer micro-dollars. ``returns`` is None for "every name bound or changed",
    an empty tuple for ``returns=``.
    """

    hardware: Hardware = field(default_factory=Hardware)
    providers: tuple[str, ...] = ()
    region: str | None = None
    host: str | None = None
    spot: bool = False
    budget_microusd: int | None = None
    timeout_s: float | None = None
    idle_s: float | None = None
    name: str | None = None
    nodes: int = 1
    launch: str | None = None
    files: tuple[str, ...] = ()
    returns: tuple[str, ...] | None = None
    detach: bool = False
    on_disconnect: Literal["keep", "stop"] = "keep"
    """What becomes of the running cell when its notebook is gone for long: it goes on, or it is interrupted."""
    meanwhile: bool = False
    """Run on this machine while the one that was asked for is still being found."""
    estimate: bool = False
    everywhere: bool = False
    """Run here, and on every worker of the notebook, now and whenever one starts."""
    retry: int = 0
    """How often the cell is run again when its worker dies under it."""
    checkpoint_s: float | None = None
    checkpoint_names: tuple[str, ...] = ()
    """What the worker saves every ``checkpoint_s`` seconds (None: never); empty: all that the cell has bound or changed."""
    secrets: tuple[str, ...] = ()
    """Environment variables here that the cell may read there."""
    allow: tuple[str, ...] = ()
    """Names of variables that may travel although they look like credentials."""
    env: str = ""
    """``auto``, ``full``, a file here, ``python:PATH`` there; "": as the setting says."""
    environment: EnvironmentChoice = field(default_factory=EnvironmentChoice)
    """What ``env`` came to; set by ``journey``."""
    line: str = ""
    """The words as typed, for error messages and for the cell's first source line."""


@dataclass(frozen=True)
class Lease:
    """When a worker ends itself (seconds). ``grace_s``: without any client connected; None: only ``idle_s`` counts.

    ``ends_unix_s``: its money is gone then. Running cells are interrupted at that moment, and the worker has ended
    ``LAST_S`` later, whoever is connected; None: it costs nothing.
    """

    idle_s: float = 600.0
    grace_s: float | None = None
    ends_unix_s: float | None = None
    since_unix_s: float | None = None
    """Since when the money flows: at 80 % of the way to the end the user is warned."""
    since_boot_s: float | None = None
    """The same moment on the clock since the boot ``boot`` of the machine that gave the order (``fleet.clock``)."""
    boot: str = ""


LAST_S = 5.0
"""How long a worker has, after its money is gone, to bring home what there is and to end; it is reserved as well."""

RefusalKind = Literal["no_quota", "no_capacity", "price_too_high", "not_permitted", "timeout", "failed"]
"""Why a machine was not to be had; ``errors.Refused`` has a class for each."""


@dataclass(frozen=True)
class Offer:
    """One kind of machine in one place, with its price. Made by providers from a price list, or by asking.

    Money in integer micro-dollars per hour: ``microusd_per_hour`` on demand, ``spot_microusd_per_hour`` interruptible;
    None where it is not sold that way, 0 where it is free. ``zone`` is "" where the provider picks one.
    """

    provider: str
    region: str
    instance: str
    """The provider's own word: "p4d.24xlarge", a host's name."""
    zone: str = ""
    gpu: str = ""
    """In lower case ("a100"), "" for none."""
    gpu_count: int = 0
    gpu_memory_bytes: int = 0
    """Of one."""
    cpus: int = 0
    memory_bytes: int = 0
    arch: str = "x86_64"
    microusd_per_hour: int | None = None
    spot_microusd_per_hour: int | None = None
    priced_unix_s: float = 0.0
    """When the price was right."""
    price_source: str = ""
    quota: str = ""
    """Code of the quota that counts on demand, "" for none; ``spot_quota`` for spot."""
    spot_quota: str = ""
    quota_units: int = 0
    """How much of that quota one machine takes (AWS: vCPUs)."""
    simulated: bool = False
    driver: str = ""
    """Version of NVIDIA's driver there ("570.86.15"), "" where there is no GPU or nobody knows."""

    def price(self, spot: bool) -> int:
        """Micro-dollars an hour, bought that way; 0 where it is free, or not sold so."""
        return (self.spot_microusd_per_hour if spot else self.microusd_per_hour) or 0


@dataclass(frozen=True)
class Quota:
    """What a provider allows in one region, and what of it is in use; in the quota's own units."""

    provider: str
    region: str
    code: str
    name: str
    limit: int
    used: int = 0


@dataclass(frozen=True)
class Refusal:
    """One try that failed, remembered in the ledger. ``what``: the provider's own words, without secrets."""

    provider: str
    region: str
    zone: str
    instance: str
    spot: bool
    kind: RefusalKind
    what: str
    at_unix_s: float


@dataclass(frozen=True)
class Standing:
    """What is known of the user's chances: quotas asked for, and refusals of late."""

    quotas: tuple[Quota, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Order:
    """One try to get one machine; the fleet makes it after the ledger has reserved its money under ``token``.

    ``token`` is random, unique for ever, in every tag and name of what the provider makes for this order: asking twice
    with one token gives one machine.
    """

    request: CellRequest
    name: str
    lease: Lease
    offer: Offer | None = None
    """None: the provider has nothing to choose from."""
    spot: bool = False
    token: str = ""
    owner: str = ""
    ledger: str = ""
    """The name of the ledger that pays; the machine carries it, so that no other ledger's ``reap`` ends it."""
    notebook: str = ""
    wait_s: float = 600.0
    """Give up with ``errors.StartTimeout`` when the worker is not reachable by then."""

    @property
    def microusd_per_hour(self) -> int:
        """What the machine costs while it exists; 0 for a free one."""
        return self.offer.price(self.spot) if self.offer else 0


@dataclass(frozen=True)
class Machine:
    """A machine at a provider that carries our tag, whether it became a worker or not; for ``cellferry reap``."""

    provider: str
    id: str
    """The provider's own word: "i-0abc"."""
    region: str
    token: str
    name: str = ""
    owner: str = ""
    started_unix_s: float = 0.0
    ledger: str = ""
    """The name of the ledger that pays for it, as its tag says; "" for one of a release without it."""


@dataclass(frozen=True)
class Check:
    """One line of ``doctor``. ``advice``: what to type if not ``ok``."""

    name: str
    ok: bool
    found: str
    advice: str = ""


PROOF_FILE = "proof"
"""The secret by which the two ends of a tunnel prove who they are, as hexadecimal text in a file that only its owner can read: beside
``worker.sock``, in the worker's folder there, in the tunnel's here. It is in no endpoint, since those are written down."""


@dataclass(frozen=True)
class Endpoint:
    """Where a worker is reached. ``kind`` "unix": ``path`` is its socket. "tls": ``host``/``port`` plus pins.
    "tunnel": ``path`` is a socket on this machine that leads to the worker's own on another; beside it lies ``PROOF_FILE``.

    ``worker_cert_pem`` is the certificate the client accepts, and no other. ``client_dir`` is the private
    folder that holds the client's own ``client.key``/``client.crt``; keys never leave the machine they were made on.
    """

    kind: Literal["unix", "tls", "tunnel"]
    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    worker_cert_pem: str = ""
    client_dir: str = ""


@dataclass(frozen=True)
class Worker:
    """A started worker as its provider describes it. ``pid`` only where the worker is a process of this machine."""

    id: WorkerId
    name: str
    provider: str
    endpoint: Endpoint
    hardware: Hardware
    folder: Path | None = None
    pid: int | None = None
    """Process group leader of a local worker."""
    lease: Lease = field(default_factory=Lease)
    started_unix_s: float = 0.0
    """When the machine began to cost money."""
    token: str = ""
    """Of the order that it was started for; "" for a worker without one."""
    offer: Offer | None = None
    spot: bool = False
    machine: str = ""
    """The provider's own word for the machine: "i-0abc", "user@box"."""
    ledger: str = ""
    """The name of the ledger that pays, where its provider found it on the machine; "" otherwise."""

    @property
    def microusd_per_hour(self) -> int:
        """What it costs while it exists; 0 for a free one."""
        return self.offer.price(self.spot) if self.offer else 0

    @property
    def simulated(self) -> bool:
        """Whether its machine and its dollars are."""
        return bool(self.offer and self.offer.simulated)


@dataclass(frozen=True)
class Shipped:
    """One row of what a cell ships: ``where`` is "sent", "there" (already on the worker) or "changed" (only chunks sent)."""

    name: str
    type_name: str
    size_bytes: int
    where: Literal["sent", "there", "changed"]
    sent_bytes: int = 0


@dataclass(frozen=True)
class PackageRow:
    """One package in ``%remote env`` and in an estimate. ``here``/``there``: versions, "" for none. ``size_bytes``: of
    what would be fetched or sent, 0 if unknown."""

    name: str
    here: str
    there: str
    why: str
    size_bytes: int = 0


@dataclass(frozen=True)
class CellReport:
    """What one remote cell did; returned by ``journey`` for display. Times in seconds, sizes in bytes."""

    worker: str
    status: Literal["ok", "error", "aborted"]
    start_s: float = 0.0
    capture_s: float = 0.0
    send_s: float = 0.0
    run_s: float = 0.0
    home_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    shipped: tuple[Shipped, ...] = ()
    came_home: tuple[str, ...] = ()
    stayed_there: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    packages: tuple[PackageRow, ...] = ()
    """For an estimate: what would be installed."""
    run: str = ""
    """The run's id, for one that was detached."""
    cost_microusd: int = 0
    cost_line: str = ""
    """Which worker, for how long, and what it came to; "" on a worker that is a process of this machine."""
    notes: tuple[str, ...] = ()
    """Lines for the user: rebound names, kept-both files, values that stayed and why."""
