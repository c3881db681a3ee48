"""The least that IAM must allow for provider aws. Printed by ``cellferry aws-policy``.

Whatever makes or ends something is bound to the tags that everything of ours carries, its owner's among them: these credentials
can end no other machine of the account, and no colleague's
(https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellferry.providers.aws_launch import TAG, tag_value

LOOK = (
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstances",
    "ec2:DescribeLaunchTemplates",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSpotPriceHistory",
    "ec2:DescribeSubnets",
    "pricing:GetProducts",
    "servicequotas:GetServiceQuota",
)
"""EC2 cannot narrow these down to single things."""
LAUNCH = ("ec2:RunInstances", "ec2:CreateFleet")
CREATING = ("RunInstances", "CreateFleet", "CreateSecurityGroup", "CreateLaunchTemplate")
KEEP = (
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:DeleteLaunchTemplate",
    "ec2:DeleteSecurityGroup",
    "ec2:GetConsoleOutput",
    "ec2:RevokeSecurityGroupIngress",
    "ec2:TerminateInstances",
)
SPOT_SERVICES = ("spot.amazonaws.com", "ec2fleet.amazonaws.com")


def least_policy(regions: Sequence[str], person: str) -> dict[str, Any]:
    """An IAM policy document for these regions and this person (``config.person_of``); ready for ``json.dumps``. No regions: all."""
    partition = _partition(regions)
    every = list(regions) or ["*"]

    def things(*kinds: str, account: str = "*") -> list[str]:
        return [f"arn:{partition}:ec2:{region}:{account}:{kind}/*" for region in every for kind in kinds]

    marks = {TAG: "1", f"{TAG}:owner": tag_value(person)}
    asked, ours = (
        {"StringEquals": {f"aws:{which}/{key}": value for key, value in marks.items()}} for which in ("RequestTag", "ResourceTag")
    )
    made = ("instance", "volume", "fleet")
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("Look", LOOK, ["*"]),
            _allow("NewestImages", ["ssm:GetParameter"], [
                f"arn:{partition}:ssm:{region}::parameter/aws/service/{name}/*"
                for region in every for name in ("deeplearning", "canonical")
            ]),
            _allow("LaunchTagged", LAUNCH, things(*made), asked),
            _allow("LaunchWith", LAUNCH, [*things("subnet", "network-interface"), *things("image", account="")]),
            _allow("LaunchOurs", LAUNCH, things("security-group", "launch-template"), ours),
            _allow("Prepare", ["ec2:CreateSecurityGroup", "ec2:CreateLaunchTemplate"],
                   things("security-group", "launch-template"), asked),
            _allow("PrepareIn", ["ec2:CreateSecurityGroup"], things("vpc")),
            _allow("TagWhatIsMade", ["ec2:CreateTags"], things(*made, "security-group", "launch-template"),
                   {"StringEquals": {"ec2:CreateAction": list(CREATING)}}),
            _allow("KeepOurs", KEEP, things("instance", "security-group", "launch-template"), ours),
            _allow("AskForMore", ["servicequotas:RequestServiceQuotaIncrease"], [f"arn:{partition}:servicequotas:*:*:ec2/*"]),
            _allow("SpotRoleOnce", ["iam:CreateServiceLinkedRole"], [f"arn:{partition}:iam::*:role/aws-service-role/*"],
                   {"StringEquals": {"iam:AWSServiceName": list(SPOT_SERVICES)}}),
        ],
    }  # fmt: skip


def actions(policy: dict[str, Any]) -> list[str]:
    """Every action that a policy of ours names, sorted."""
    return sorted({action for statement in policy["Statement"] for action in statement["Action"]})


def _allow(name: str, what: Sequence[str], on: list[str], when: dict[str, Any] | None = None) -> dict[str, Any]:
    statement = {"Sid": name, "Effect": "Allow", "Action": list(what), "Resource": on}
    return {**statement, "Condition": when} if when else statement


def _partition(regions: Sequence[str]) -> str:
    first = regions[0] if regions else ""
    return "aws-cn" if first.startswith("cn-") else "aws-us-gov" if first.startswith("us-gov-") else "aws"
