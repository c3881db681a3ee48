"""A cloud in a box: moto's EC2 and its neighbours, where every instance is a host on which its user data is run.

The API listens on loopback. An instance has its private address and, where its subnet gives it one, a public address of
198.18.0.0/15, the range set aside for tests (RFC 2544): nothing leaves this machine, and what its security groups don't
admit does not reach it. Instances have no internet; ``serve_index`` gives them a folder of wheels.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import threading
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

from testbeds import cloud_machine
from testbeds.cloud_faults import Call, Fault, Faults, Match
from testbeds.cloud_figures import ACCOUNT, Figures
from testbeds.cloud_machine import BROKEN, TAKEN_BACK, End, Machine
from testbeds.hosts import OURS, Host, Network

REGION = "us-east-1"
_one = threading.Lock()


class CloudInABox:
    """AWS for tests, on ``network``; a context manager. One at a time in a process, because moto's state is global.

    ``figures``: quotas and prices, to be set at any time. ``calls``: every request so far. ``client_address``: where
    the client's connections to public addresses come from, as a security group sees it. ``clock_ahead_s``: how far the
    cloud's clock is ahead. ``hide``: folders that are empty on the instances.
    """

    def __init__(self, network: Network, *, region: str = REGION, hide: Sequence[str] = OURS) -> None:
        self.network, self.region, self._hide = network, region, tuple(hide)
        self.regions = sorted({region, "us-east-1", "us-west-2", "eu-west-1"})
        self.client_address = f"198.18.{network.number}.1"
        self.figures = Figures()
        self.faults = Faults()
        self.calls: list[Call] = []
        self.fleets: dict[str, list[str]] = {}
        self.clock_ahead_s = 0.0
        self.endpoint = ""
        self._public = 1
        self._machines: dict[str, Machine] = {}
        self._ends: dict[str, End] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        self._timers: list[threading.Timer] = []
        self._servers: list[tuple[http.server.HTTPServer, threading.Thread]] = []
        self._lock = threading.RLock()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> CloudInABox:
        from moto.moto_api._internal.models import moto_api_backend
        from werkzeug.serving import make_server

        from testbeds.cloud_ec2 import repairs
        from testbeds.cloud_front import Front

        if not _one.acquire(blocking=False):
            raise RuntimeError("there is a cloud in this process already")
        self._stack.callback(_one.release)
        with contextlib.ExitStack() as stack:
            moto_api_backend.reset()
            stack.callback(moto_api_backend.reset)
            stack.enter_context(repairs(self))
            self.network.add_address(f"{self.client_address}/24")
            stack.callback(self._stop)
            server = make_server("127.0.0.1", 0, Front(self), threaded=True, request_handler=_handler(self))
            self._serve(server)
            self.endpoint = f"http://127.0.0.1:{server.server_port}"
            self._stack.push(stack.pop_all())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _stop(self) -> None:
        for timer in self._timers:
            timer.cancel()
        for server, thread in self._servers:
            server.shutdown()
            server.server_close()
            thread.join()
        for machine in list(self._machines.values()):
            machine.close()
        for timer in self._timers:
            timer.join()

    def _serve(self, server: http.server.HTTPServer) -> None:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self._servers.append((server, thread))

    def environ(self) -> dict[str, str]:
        """The environment of a client of this cloud. Take AWS_PROFILE out of it as well."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIATESTKEY000000001",
            "AWS_SECRET_ACCESS_KEY": "a-secret-of-this-test",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def client(self, service: str, region: str = "") -> Any:
        """boto3's client of a service of this cloud, in a session of its own, without retries."""
        import boto3
        from botocore.config import Config

        key = service, region or self.region
        if key not in self._clients:
            environ = self.environ()
            session = boto3.session.Session(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])
            config = Config(retries={"total_max_attempts": 1})
            self._clients[key] = session.client(*key, endpoint_url=self.endpoint, config=config)
        return self._clients[key]

    # -- instances ----------------------------------------------------------------------------------------------------

    def adopt(self, instance: Any) -> None:
        """A new instance of moto's: it boots."""
        machine = Machine(self.network, instance, self.settle, self._hide, self._members)
        with self._lock:
            self._machines[instance.id] = machine
        machine.start()

    def end(self, instance: Any, end: End) -> None:
        """moto has ended an instance: its host is powered off. ``end``: how, unless it was ``settle`` that had it ended."""
        with self._lock:
            end = self._ends.pop(instance.id, end)
        self._machines[instance.id].end(end)

    def settle(self, instance: Any, end: End) -> None:
        """An instance has ended by itself, or was taken away: moto learns of it, and gives back what belongs to it."""
        from moto.ec2.models import ec2_backends

        if instance.state in ("terminated", "shutting-down"):
            return
        with self._lock:
            self._ends[instance.id] = end
        backend = ec2_backends[ACCOUNT][instance.region_name]
        act = backend.terminate_instances if end.state == "terminated" else backend.stop_instances
        act([instance.id])

    def machine(self, instance_id: str) -> Machine:
        return self._machines[instance_id]

    def host(self, instance_id: str) -> Host:
        """The host that an instance runs on. Raises RuntimeError when it has not booted."""
        host = self._machines[instance_id].host
        if host is None:
            raise RuntimeError(f"{instance_id} has no host: {self._machines[instance_id].error!r}")
        return host

    def instances(self, *states: str) -> list[str]:
        """The ids of the instances in these states; without any: of those that are not terminated."""
        with self._lock:
            machines = dict(self._machines)
        return [
            name
            for name, one in machines.items()
            if (one.instance.state in states if states else one.instance.state != "terminated")
        ]

    def console(self, instance_id: str) -> str:
        """What an instance wrote to its console."""
        return self._machines[instance_id].console()

    def interrupt(self, instance_id: str, in_s: float = 120) -> None:
        """Take a spot instance back: it is told by its metadata at once, and terminated after ``in_s`` seconds."""
        machine = self._machines[instance_id]
        machine.interrupt(in_s)
        timer = threading.Timer(in_s, self.settle, (machine.instance, End("terminated", *TAKEN_BACK)))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def kill(self, instance_id: str) -> None:
        """Let the machine below an instance break: everything on it is dead, and EC2 finds it terminated."""
        host = self.host(instance_id)
        self.settle(self._machines[instance_id].instance, End("terminated", *BROKEN))
        host.power_off()

    def apply_firewalls(self) -> None:
        """Security groups have changed."""
        with self._lock:
            machines = list(self._machines.values())
        for machine in machines:
            machine.apply_firewall()

    def _members(self) -> dict[str, list[str]]:
        """The addresses of the instances in each security group."""
        members: dict[str, list[str]] = {}
        with self._lock:
            machines = list(self._machines.values())
        for machine in machines:
            addresses = [machine.private_ip, machine.public_ip, machine.host.ip if machine.host else ""]
            for group in cloud_machine.security_groups(machine.instance):
                members.setdefault(group.id, []).extend(filter(None, addresses))
        return members

    def new_public_ip(self) -> str:
        with self._lock:
            self._public += 1
            if self._public > 254:
                raise RuntimeError("this cloud has given out all of its 253 public addresses")
            return f"198.18.{self.network.number}.{self._public}"

    # -- what goes wrong, and what is there ---------------------------------------------------------------------------

    def fail(
        self,
        service: str,
        action: str,
        code: str,
        status: int = 0,
        message: str = "",
        times: int | None = 1,
        match: Match = None,
    ) -> Fault:
        """Order an error for requests to come: ``fail("ec2", "RunInstances", "InsufficientInstanceCapacity")``.

        ``service``: as in a signature (``ec2``, ``ssm``, ``sts``, ``servicequotas``, ``pricing``); it and ``action`` may
        be ``*``. ``status`` and ``message``: those of AWS for the code unless given. ``times``: how many requests get
        it; None: all. ``match``: parameters under their flat names and what they must be (one value or several), with
        ``InstanceType``, ``AvailabilityZone`` (or ``AZ``) and ``Region`` found out; or a function of these. Errors of a
        launch that match a choice of a CreateFleet are told in its errorSet, where AWS tells them.
        """
        return self.faults.add(service, action, code, status, message, times, match)

    def mend(self) -> None:
        """Take back every error that is ordered."""
        self.faults.ordered.clear()

    def set_quota(self, code: str, value: float, region: str = "") -> None:
        """So many virtual CPUs of this kind may run in a region; more is VcpuLimitExceeded or its like for spot."""
        self.figures.quotas[region or self.region, code] = value

    @contextlib.contextmanager
    def enforce(self, policy: dict[str, Any]) -> Iterator[dict[str, str]]:
        """A user who has exactly this policy; yields the user's environment. Conditions and resources don't count.

        What the user may not do is refused, by action, as long as the ``with`` statement lasts; that is so for
        everybody, so that requests under other keys fail meanwhile.
        """
        from moto.core.authorization import enable_iam_authentication

        iam = self.client("iam")
        name = f"user-{len(self.calls)}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="only", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        secrets = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        with enable_iam_authentication():
            yield self.environ() | secrets

    def serve_index(self, folder: Path) -> str:
        """Serve a folder of wheels to the instances over HTTP; the URL is one for ``--find-links``."""
        handler = functools.partial(_quiet_files(), directory=str(folder))
        server = http.server.ThreadingHTTPServer((self.client_address, 0), handler)
        server.daemon_threads = True
        self._serve(server)
        return f"http://{self.client_address}:{server.server_port}/"

    def leftovers(self) -> list[str]:
        """What is still there that costs money or stands in the way: empty when a client has cleaned up."""
        from moto.ec2.models import ec2_backends

        left = [f"instance {name} is {self._machines[name].instance.state}" for name in self.instances()]
        for region in self.regions:
            backend = ec2_backends[ACCOUNT][region]
            left += [
                f"security group {g.id} in {region}" for g in backend.describe_security_groups() if g.name != "default"
            ]
            left += [f"launch template {t.id} in {region}" for t in backend.launch_templates.values()]
            volumes = [volume for volume in backend.describe_volumes() if volume.attachment is None]
            left += [f"volume {volume.id} in {region}" for volume in volumes]
        return left


def _handler(cloud: CloudInABox) -> Any:
    """The class that reads requests to the API."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    class Handler(MotoRequestHandler):
        def log(self, *_: object) -> None:
            """No line for each request on the tests' standard error."""

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + cloud.clock_ahead_s, usegmt=True)

    return Handler


def _quiet_files() -> Any:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """As above."""

    return Quiet
