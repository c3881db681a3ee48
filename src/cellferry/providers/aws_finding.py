"""What of ours there is at AWS, found by tag: machines, and the groups and templates that a start may leave behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from cellferry.errors import CellferryError
from cellferry.model import Machine
from cellferry.providers.aws_errors import GONE, code_of, explained
from cellferry.providers.aws_launch import TAG, ingress, tag_value
from cellferry.providers.aws_session import Sessions, in_parallel

LIVING = ("pending", "running", "stopping", "stopped")
"""States of a machine that costs money or could again."""
ENDING = ("shutting-down", "terminated")
END_S = 60.0
"""How long to wait until AWS says that a machine is ending: a second, as a rule."""
YOUNG_S = 10.0
"""How long AWS may take to know everywhere a machine that it gave."""
TIDY_S = 600.0
"""How long the group of a machine cannot be removed at most: it is in use until the machine is gone altogether."""
LEFT_S = 900.0
"""A group or template without a machine that is older than this was left by a start that was cut off."""
LOOK_S = 1.0
CLOSE_S = 5.0
LONGEST_LOOK_S = 8.0
_LATER = frozenset({"DependencyViolation", "InvalidGroup.InUse"})


def tags_of(thing: dict[str, Any]) -> dict[str, str]:
    """Our tags on what AWS describes, without the prefix: ``token``, ``owner``, ``name`` ..."""
    return {tag["Key"].partition(":")[2] or tag["Key"]: tag["Value"] for tag in thing.get("Tags", ()) if tag["Key"].startswith(TAG)}


def by_tag(**values: str) -> list[dict[str, Any]]:
    """Filters for what carries our tag and these."""
    marks = [{"Name": f"tag:{TAG}:{key}", "Values": [tag_value(value)]} for key, value in values.items() if value]
    return [{"Name": f"tag:{TAG}", "Values": ["1"]}, *marks]


def described(sessions: Sessions, region: str, filters: Sequence[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    """Instances as EC2 describes them. Raises CellferryError."""
    every = sessions.pages("ec2", region, "describe_instances", "Reservations", Filters=list(filters), **more)
    return [instance for reservation in every for instance in reservation["Instances"]]


def instance(sessions: Sessions, region: str, machine_id: str) -> dict[str, Any] | None:
    """One machine as EC2 describes it; None if it is gone, or so new that it is not known everywhere yet."""
    try:
        pages = sessions.client("ec2", region).describe_instances(InstanceIds=[machine_id])
    except Exception as exc:
        if code_of(exc) in GONE:
            return None
        raise explained(exc, region=region) from exc
    return next((found for reservation in pages["Reservations"] for found in reservation["Instances"]), None)


def find_machines(sessions: Sessions, owner: str) -> list[Machine]:
    """Every living machine with our tag and this owner ("": anybody's), in all regions at once, and what starts left behind.

    Raises CellferryError, when some region could not be asked: "none" and "unknown" are not the same.
    """
    answers = in_parallel(lambda region: _in_region(sessions, region, owner), sessions.regions)
    found: list[Machine] = []
    for answer in answers:
        if isinstance(answer, CellferryError):
            raise answer
        found += answer
    return found


def _in_region(sessions: Sessions, region: str, owner: str) -> list[Machine]:
    every = described(sessions, region, by_tag(owner=owner))
    living = [each for each in every if each["State"]["Name"] in LIVING]
    found = [machine_of(each, region) for each in living]
    busy = {machine.token for machine in found}
    return [*found, *(left for left in _left_behind(sessions, region, owner) if left.token not in busy)]


def machine_of(described: dict[str, Any], region: str) -> Machine:
    """A machine as the model has it."""
    marks, launched = tags_of(described), described.get("LaunchTime")
    return Machine(
        "aws", described["InstanceId"], region, marks.get("token", ""), marks.get("name", ""), marks.get("owner", ""),
        launched.timestamp() if launched else 0.0, marks.get("ledger", ""),
    )  # fmt: skip


def _left_behind(sessions: Sessions, region: str, owner: str) -> Iterable[Machine]:
    """Old groups and templates; they cost nothing, and are listed so that `cellferry reap` removes them too."""
    groups = sessions.pages("ec2", region, "describe_security_groups", "SecurityGroups", Filters=by_tag(owner=owner))
    templates = sessions.pages("ec2", region, "describe_launch_templates", "LaunchTemplates", Filters=by_tag(owner=owner))
    for thing, word in [*((g, g["GroupId"]) for g in groups), *((t, t["LaunchTemplateId"]) for t in templates)]:
        marks = tags_of(thing)
        if time.time() - float(marks.get("made") or 0) > LEFT_S:
            yield Machine("aws", word, region, marks.get("token", ""), marks.get("name", ""), marks.get("owner", ""),
                          ledger=marks.get("ledger", ""))  # fmt: skip


# -- the door of a machine --------------------------------------------------------------------------------------------


def group_of(sessions: Sessions, region: str, token: str) -> str:
    """The id of an order's security group, "" if there is none. Raises CellferryError."""
    found = sessions.call("ec2", region, "describe_security_groups", Filters=by_tag(token=token))["SecurityGroups"]
    return str(found[0]["GroupId"]) if found else ""


def admit(sessions: Sessions, region: str, group: str, network: str) -> None:
    """Let ``network`` reach the one port of the group's machine. Repeatable. Raises CellferryError."""
    try:
        sessions.client("ec2", region).authorize_security_group_ingress(**ingress(group, network))
    except Exception as exc:
        if code_of(exc) != "InvalidPermission.Duplicate":
            raise explained(exc, region=region) from exc


def admit_only(sessions: Sessions, region: str, group: str, network: str) -> None:
    """As ``admit``, and shut out where the client was before. Raises CellferryError."""
    admit(sessions, region, group, network)
    described = sessions.call("ec2", region, "describe_security_groups", GroupIds=[group])["SecurityGroups"][0]
    before = [each["CidrIp"] for rule in described["IpPermissions"] for each in rule.get("IpRanges", ())]
    for other in before:
        if other != network:
            request = {key: value for key, value in ingress(group, other).items() if key != "Description"}
            sessions.call("ec2", region, "revoke_security_group_ingress", **request)


# -- ending -----------------------------------------------------------------------------------------------------------


def terminate(sessions: Sessions, region: str, machine_ids: Sequence[str], young: bool = False) -> None:
    """End machines, and return when AWS says that they are ending: from then on they cost nothing. Repeatable.

    ``young``: they were given a moment ago, and AWS may not know them everywhere yet. Raises CellferryError.
    """
    for machine_id in machine_ids:
        patience = time.monotonic() + (YOUNG_S if young else 0.0)
        while True:
            try:
                sessions.client("ec2", region).terminate_instances(InstanceIds=[machine_id])
                break
            except Exception as exc:
                if code_of(exc) not in GONE:
                    raise explained(exc, region=region) from exc
            if time.monotonic() >= patience:
                break
            threading.Event().wait(LOOK_S)
    deadline = time.monotonic() + END_S
    for machine_id in machine_ids:
        while (found := instance(sessions, region, machine_id)) and found["State"]["Name"] not in ENDING:
            if time.monotonic() > deadline:
                raise CellferryError(
                    f"AWS was told to end {machine_id} in {region}, but it is {found['State']['Name']}",
                    f"look, and end it: aws ec2 terminate-instances --region {region} --instance-ids {machine_id}",
                )
            threading.Event().wait(LOOK_S)


def machines_of(sessions: Sessions, region: str, token: str) -> list[dict[str, Any]]:
    """The machines of an order that are not ending."""
    found = described(sessions, region, by_tag(token=token))
    return [each for each in found if each["State"]["Name"] in LIVING]


def remove_template(sessions: Sessions, region: str, token: str) -> None:
    """Remove the order's launch template if there is one. Raises CellferryError."""
    every = sessions.pages("ec2", region, "describe_launch_templates", "LaunchTemplates", Filters=by_tag(token=token))
    for template in every:
        _gone(sessions, region, "delete_launch_template", LaunchTemplateId=template["LaunchTemplateId"])


def remove_groups(sessions: Sessions, region: str, token: str) -> bool:
    """Remove the order's security group; False if a machine that is just ending still has it. Raises CellferryError."""
    groups = sessions.pages("ec2", region, "describe_security_groups", "SecurityGroups", Filters=by_tag(token=token))
    left = [group for group in groups if not _gone(sessions, region, "delete_security_group", GroupId=group["GroupId"])]
    return not left


def _gone(sessions: Sessions, region: str, operation: str, **request: Any) -> bool:
    try:
        getattr(sessions.client("ec2", region), operation)(**request)
    except Exception as exc:
        if code_of(exc) in _LATER:
            return False
        if code_of(exc) not in GONE:
            raise explained(exc, region=region) from exc
    return True


class Tidying:
    """Removes groups in the background, since AWS keeps a group as long as its machine is not gone altogether."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def groups(self, region: str, token: str) -> None:
        """Remove the order's group now if that is possible, else later. Raises CellferryError."""
        if remove_groups(self._sessions, region, token):
            return
        thread = threading.Thread(target=self._later, args=(region, token), name="cellferry-aws-tidy", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _later(self, region: str, token: str) -> None:
        deadline, pause_s = time.monotonic() + TIDY_S, LOOK_S
        try:
            while time.monotonic() < deadline and not self._closing.wait(pause_s):
                if remove_groups(self._sessions, region, token):
                    return
                pause_s = min(LONGEST_LOOK_S, pause_s * 1.5)
        except CellferryError:
            return  # `cellferry reap` finds it by its tag

    def close(self) -> None:
        """Stop trying; what is still there is found by its tag later."""
        self._closing.set()
        for thread in self._threads:
            thread.join(CLOSE_S)

