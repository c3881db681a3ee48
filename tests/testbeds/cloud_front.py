"""What stands before moto: ordered errors, the record of calls, and the services that moto lacks.

A WSGI application. The services are told by the credential scope of a request's signature, the action by the form (EC2
and the other query services) or the target header (those that speak JSON).
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from moto import settings
from moto.core.exceptions import AccessDeniedError
from moto.ec2.models import ec2_backends
from moto.iam.access_control import IAMRequest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from testbeds.cloud_faults import AT_LAUNCH, Call
from testbeds.cloud_figures import ACCOUNT, ServiceError

if TYPE_CHECKING:
    from testbeds.cloud import CloudInABox

Start = Callable[..., Any]
_PUBLIC = ("/aws/service/deeplearning/", "/aws/service/ami-amazon-linux-latest/", "/aws/service/canonical/")
_JSON = "application/x-amz-json-1.1"


@dataclass(frozen=True)
class _Request:
    call: Call
    body: bytes
    headers: Mapping[str, str]
    facts: Mapping[str, Any]
    """The parameters, and what they mean: InstanceType, AvailabilityZone, Region."""

    @property
    def speaks_json(self) -> bool:
        return "X-Amz-Target" in self.headers


LOOKS = 5
"""How often a request that changes nothing is made before its error is told."""


class Front:
    """The application that ``CloudInABox`` serves."""

    def __init__(self, cloud: CloudInABox) -> None:
        self._cloud = cloud
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._images: dict[tuple[str, str], str] = {}

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/checkip":
            start("200 OK", [("Content-Type", "text/plain")])
            return [f"{self._cloud.client_address}\n".encode()]
        request = _read(environ)
        if request is None:
            return self._moto(environ, start)  # type: ignore[no-any-return]
        call = request.call
        self._cloud.calls.append(call)
        later = AT_LAUNCH if (call.service, call.action) == ("ec2", "CreateFleet") else ()
        fault = self._cloud.faults.take(call.service, call.action, request.facts, lambda code: code not in later)
        if fault is not None:
            return _error(start, request, fault.code, fault.status, fault.message)
        own = self._own_service(request)
        if own is not None:
            return self._answer(start, request, own)
        if call.action.startswith("Describe"):
            return self._look(environ, start)
        try:
            return self._moto(environ, start)  # type: ignore[no-any-return]
        finally:
            if call.service == "ec2" and ("SecurityGroup" in call.action or call.action.startswith("Modify")):
                self._cloud.apply_firewalls()

    def _look(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """A request that changes nothing. moto stumbles where an instance ends meanwhile, which is no error of AWS: look again."""
        for _ in range(LOOKS):
            told: list[Any] = []
            body = list(self._moto(environ, lambda *status_and_headers, into=told: into.append(status_and_headers)))
            if not str(told[-1][0]).startswith("500"):
                break
            environ["wsgi.input"].seek(0)
        start(*told[-1])
        return body

    def _own_service(self, request: _Request) -> Callable[[], dict[str, Any]] | None:
        call, figures = request.call, self._cloud.figures
        if call.service == "servicequotas":
            return lambda: figures.service_quotas(call.action, call.region, call.parameters)
        if call.service == "pricing":
            return lambda: figures.pricing(call.action, call.parameters, self._cloud.regions)
        names = [call.parameters.get("Name", ""), *call.parameters.get("Names", [])]
        if call.service == "ssm" and any(str(name).startswith(_PUBLIC) for name in names):
            return lambda: self._parameters(call)
        return None

    def _answer(self, begin: Start, request: _Request, act: Callable[[], dict[str, Any]]) -> list[bytes]:
        try:
            _authorize(request)
            body = json.dumps(act()).encode()
        except AccessDeniedError as exc:
            return _error(begin, request, "AccessDeniedException", 400, str(exc.message))
        except ServiceError as exc:
            return _error(begin, request, exc.code, 400, str(exc))
        begin("200 OK", [("Content-Type", _JSON), ("Content-Length", str(len(body)))])
        return [body]

    def _parameters(self, call: Call) -> dict[str, Any]:
        """Public parameters that name images: each name has an image of its own in each region."""
        names = call.parameters.get("Names") or [call.parameters["Name"]]
        found = [self._parameter(call.region, name) for name in names if name.startswith(_PUBLIC)]
        if call.action == "GetParameters":
            return {"Parameters": found, "InvalidParameters": [name for name in names if not name.startswith(_PUBLIC)]}
        return {"Parameter": found[0]}

    def _parameter(self, region: str, name: str) -> dict[str, Any]:
        image = self._images.get((region, name))
        if image is None:
            image = self._images[region, name] = _new_image(region, name)
        return {
            "Name": name,
            "Type": "String",
            "Value": image,
            "Version": 1,
            "LastModifiedDate": time.time(),
            "ARN": f"arn:aws:ssm:{region}::parameter{name}",
            "DataType": "aws:ec2:image",
        }


def _new_image(region: str, name: str) -> str:
    """Register an image in a region, for a public parameter."""
    image = ec2_backends[ACCOUNT][region].register_image(name=name.strip("/").replace("/", "-"), description=name)
    image.owner_id, image.owner_alias, image.root_device_type = "898082745236", "amazon", "ebs"
    image.architecture, image.virtualization_type = ("arm64" if "arm64" in name else "x86_64"), "hvm"
    image.launch_permissions.append({"Group": "all"})
    return str(image.id)


def _authorize(request: _Request) -> None:
    """moto's check of a user's policies, where a test has switched it on, for what never reaches moto."""
    if settings.INITIAL_NO_AUTH_ACTION_COUNT == 0:
        action = request.call.action
        asked = IAMRequest(ACCOUNT, "POST", "/", {}, request.body, dict(request.headers), action)
        asked.check_action_permitted("*")


def _read(environ: dict[str, Any]) -> _Request | None:
    """A request to one of AWS's services; None for anything else. The body can be read again."""
    scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split(",")[0].split("/")
    if len(scope) != 5:
        return None
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    parameters: dict[str, Any] = {}
    if target:
        parameters = json.loads(body or b"{}")
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
    action = target.rpartition(".")[2] or parameters.get("Action", "")
    call = Call(scope[3], action, scope[2], parameters)
    headers = {name[5:].replace("_", "-").title(): value for name, value in environ.items() if name.startswith("HTTP_")}
    return _Request(call, body, headers, _facts(call))


def _facts(call: Call) -> dict[str, Any]:
    facts = {**call.parameters, "Region": call.region}
    if call.service != "ec2" or call.action != "RunInstances":
        return facts
    backend, given = ec2_backends[ACCOUNT][call.region], call.parameters
    zone = given.get("Placement.AvailabilityZone") or min(backend.get_default_subnets(), default="")
    subnet = given.get("SubnetId") or given.get("NetworkInterface.1.SubnetId")
    zones = {one.id: one.availability_zone for one in backend.describe_subnets()} if subnet else {}
    return facts | {"AvailabilityZone": zones.get(subnet or "", zone)}


def _error(begin: Start, request: _Request, code: str, status: int, message: str) -> list[bytes]:
    """An error in the words of the service's protocol."""
    identity = str(uuid.uuid4())
    headers = [("x-amzn-RequestId", identity)]
    if request.speaks_json:
        body = json.dumps({"__type": code, "message": message})
        headers += [("Content-Type", _JSON), ("x-amzn-ErrorType", code)]
    else:
        what = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        if request.call.service == "ec2":
            body = f"<Response><Errors><Error>{what}</Error></Errors><RequestID>{identity}</RequestID></Response>"
        else:
            who = "Receiver" if status >= 500 else "Sender"
            body = f"<ErrorResponse><Error><Type>{who}</Type>{what}</Error><RequestId>{identity}</RequestId></ErrorResponse>"
        headers.append(("Content-Type", "text/xml;charset=UTF-8"))
    begin(f"{status} Error", [*headers, ("Content-Length", str(len(body.encode())))])
    return [body.encode()]
