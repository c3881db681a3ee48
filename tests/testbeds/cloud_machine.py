"""One instance of the cloud: the host that it runs on, from its first boot until it is terminated."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbeds import namespaces
from testbeds.hosts import PATIENCE_S, Host, Network
from testbeds.imds import MetadataService
from testbeds.needs import command

MOST_USER_DATA = 16384
"""Bytes of user data that EC2 takes, before base64."""
_SEED = "/var/lib/cloud/instance"
_RUN = """mkfifo -m 600 /run/screen
(trap '' TERM; exec tee -a /var/log/cloud-init-output.log </run/screen >/dev/console) &
exec >/run/screen 2>&1
"$0" || echo "cloud-init: WARNING: the user data script ended with $?"
"""
"""A pipe that is open only once its reader is deaf to SIGTERM: the last words before a shutdown get through."""
_FIRST_LINES = """[    0.000000] Linux version 6.8.0-aws (buildd@lcy02) #1 SMP
[    0.000000] Command line: BOOT_IMAGE=/vmlinuz root=PARTUUID=1 ro console=tty1 console=ttyS0
[    1.204112] cloud-init[412]: Cloud-init v. 24.1 running 'modules:final'
"""


@dataclass(frozen=True)
class End:
    """How an instance ends: its state then, and EC2's reason."""

    state: str
    code: str
    message: str


BY_ITSELF = "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown"
BY_USER = "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"
TAKEN_BACK = "Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination"
BROKEN = "Server.InternalError", "Server.InternalError: Internal error on the host"


@dataclass
class Machine:
    """An instance (moto's object, whose states are set here) and its host.

    ``settle`` is called with (instance, End) when the host ended without anybody asking the API for it.
    """

    network: Network
    instance: Any
    settle: Callable[[Any, End], None]
    hide: Sequence[str]
    groups: Callable[[], dict[str, list[str]]]
    host: Host | None = None
    interruption: str = ""
    error: BaseException | None = None
    _metadata: MetadataService | None = None
    _rules: str = ""
    _end: End | None = None
    _state: threading.Lock = field(default_factory=threading.Lock)
    _ending: threading.Event = field(default_factory=threading.Event)
    _off: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self) -> None:
        """Boot, in a thread of its own; the instance is pending until then."""
        self.private_ip: str = self.instance.private_ip
        self.public_ip: str = self.instance.public_ip or ""
        set_state(self.instance, "pending")
        self._spawn(self._live)

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True, name=f"instance {self.instance.id}")
        self._threads.append(thread)
        thread.start()

    def _live(self) -> None:
        try:
            self._boot()
        except BaseException as exc:
            self.error = exc
            if not self._ending.is_set():
                self.settle(self.instance, End("terminated", *BROKEN))
            return
        assert self.host is not None
        how = self.host.wait()
        if not self._ending.is_set():
            stops = self.instance.instance_initiated_shutdown_behavior == "stop"
            by_itself = End("stopped" if stops else "terminated", *BY_ITSELF)
            self.settle(self.instance, End("terminated", *BROKEN) if how == "killed" else by_itself)

    def _boot(self) -> None:
        addresses = [f"{self.private_ip}/16", *([f"{self.public_ip}/24"] if self.public_ip else [])]
        name = "ip-" + self.private_ip.replace(".", "-")
        with self._lock:
            if self._ending.is_set():
                return
            self.host = host = self.network.host(name, hide=self.hide, addresses=addresses)
            self.apply_firewall()
            net = host.open_network()
            self._metadata = MetadataService(
                net, host.pid, self._tree, lambda: self.instance.metadata_options.http_tokens
            )
            with host.console.open("a") as console:
                console.write(_FIRST_LINES)
            if not self._ending.is_set():
                set_state(self.instance, "running")
            self._run_user_data(host)

    def _run_user_data(self, host: Host) -> None:
        """cloud-init's rule: a script (``#!``), maybe compressed, is run as root, once, without HOME."""
        data = user_data(self.instance)
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if not data.startswith(b"#!"):
            if data:
                host.run(
                    ["sh", "-c", "echo 'cloud-init: WARNING: the user data is no script: left alone' >/dev/console"]
                )
            return
        script = f"{_SEED}/scripts/part-001"
        host.write(script, data, 0o700)
        host.popen(
            ["env", "-u", "HOME", "sh", "-c", _RUN, script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def apply_firewall(self) -> None:
        """Make the host keep to the ingress rules of the instance's security groups, as they are now."""
        with self._lock:
            rules = firewall(security_groups(self.instance), self.groups())
            if self.host is None or not self.host.running or rules == self._rules:
                return
            self._rules = rules
            namespaces.run([*namespaces.in_network_of(self.host.pid), command("nft"), "-f", "-"], rules)

    def end(self, end: End) -> None:
        """Power off, in a thread of its own: the instance is shutting down until every process is dead.

        When it is ending already, or has stopped, only the state and the reason are new.
        """
        with self._state:
            again, self._end = self._end is not None, end
            set_state(self.instance, "shutting-down" if end.state == "terminated" else "stopping")
            self._ending.set()
        if not again:
            self._spawn(self._finish)
        elif self._off.is_set():
            self._settle()

    def _finish(self) -> None:
        with self._lock:
            if self._metadata is not None:
                self._metadata.close()
            if self.host is not None:
                self.host.power_off()
        self._off.set()
        self._settle()

    def _settle(self) -> None:
        with self._state:
            assert self._end is not None
            set_reason(self.instance, self._end)

    def close(self) -> None:
        """Power off whatever it does; when this returns, nothing of it is left."""
        if not self._ending.is_set():
            self.end(End("terminated", *BY_USER))
        for thread in list(self._threads):
            if thread is not threading.current_thread():
                thread.join(PATIENCE_S)

    def console(self) -> str:
        """The last 64 kB that it wrote to its console, with the line ends of a serial port."""
        if self.host is None or not self.host.console.exists():
            return ""
        text = self.host.console.read_text(errors="replace")[-65536:]
        return text.replace("\n", "\r\n")

    def interrupt(self, in_s: float) -> None:
        """Tell the instance that it will be taken back; somebody else does that."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + in_s))
        self.interruption = json.dumps({"action": "terminate", "time": moment})

    def _tree(self) -> dict[str, str]:
        """What the metadata service says, by path."""
        instance, zone = self.instance, self.instance.availability_zone
        tree = {
            "meta-data/ami-id": instance.image_id,
            "meta-data/hostname": instance.private_dns_name,
            "meta-data/instance-id": instance.id,
            "meta-data/instance-life-cycle": "spot" if instance.lifecycle == "spot" else "on-demand",
            "meta-data/instance-type": instance.instance_type,
            "meta-data/local-hostname": instance.private_dns_name,
            "meta-data/local-ipv4": self.private_ip,
            "meta-data/placement/availability-zone": zone,
            "meta-data/placement/region": instance.region_name,
            "meta-data/security-groups": "\n".join(group.name for group in security_groups(instance)),
            "meta-data/services/domain": "amazonaws.com",
            "dynamic/instance-identity/document": json.dumps(self._document(), indent=2),
        }
        if self.public_ip:
            tree["meta-data/public-ipv4"] = self.public_ip
        if self.interruption:
            tree["meta-data/spot/instance-action"] = self.interruption
            tree["meta-data/spot/termination-time"] = json.loads(self.interruption)["time"]
        data = user_data(instance)
        return tree | ({"user-data": data.decode("latin-1")} if data else {})

    def _document(self) -> dict[str, str]:
        instance = self.instance
        return {
            "accountId": instance.owner_id,
            "architecture": instance.architecture or "x86_64",
            "availabilityZone": instance.availability_zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "pendingTime": instance.launch_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "privateIp": self.private_ip,
            "region": instance.region_name,
            "version": "2017-09-30",
        }


def user_data(instance: Any) -> bytes:
    return base64.b64decode(str(instance.user_data)) if instance.user_data else b""


def security_groups(instance: Any) -> list[Any]:
    """moto's objects of the groups of an instance, from wherever they were named."""
    found = {group.id: group for nic in instance.nics.values() for group in nic.group_set}
    return list((found | {group.id: group for group in instance.security_groups}).values())


def firewall(groups: Iterable[Any], members: dict[str, list[str]]) -> str:
    """nft's rules for the ingress rules of security groups; ``members`` has the addresses of the instances in each."""
    accepted = sorted({line for group in groups for rule in group.ingress_rules for line in _lines(rule, members)})
    chain = [
        "type filter hook input priority 0; policy drop;",
        'iifname "lo" accept',
        "ct state established,related accept",
    ]
    body = "\n".join([*chain, *accepted])
    table = "table inet groups"
    return f"{table}\ndelete {table}\n{table} {{\nchain input {{\n{body}\n}}\n}}\n"


def _lines(rule: Any, members: dict[str, list[str]]) -> list[str]:
    """The lines of one ingress rule, one for each source of it."""
    sources = [rule.cidr_ipv4] if rule.cidr_ipv4 else []
    sources += members.get(rule.source_group.get("GroupId", ""), [])
    if rule.ip_protocol in ("tcp", "udp"):
        what = f"{rule.ip_protocol} dport {rule.from_port}-{rule.to_port} accept"
    else:
        what = "ip protocol icmp accept" if rule.ip_protocol == "icmp" else "accept"
    return [f"ip saddr {source} {what}" for source in sources]


_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


def set_state(instance: Any, state: str) -> None:
    instance._state.name, instance._state.code = state, _CODES[state]


def set_reason(instance: Any, end: End) -> None:
    """The state in which an instance ended, and why, as DescribeInstances tells it."""
    set_state(instance, end.state)
    moment = time.strftime("%Y-%m-%d %H:%M:%S GMT", time.gmtime())
    instance._reason = f"{end.message.split(': ', 1)[1]} ({moment})"
    instance.state_reason.code, instance.state_reason.message = end.code, end.message
