"""Quotas and prices of the cloud for tests. The figures look like AWS's, but are nobody's: tests set what they need."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ACCOUNT = "123456789012"
QUOTAS = {
    "L-417A185B": "Running On-Demand P instances",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
    "L-7212CCBC": "All P4, P3 and P2 Spot Instance Requests",
    "L-C4BD4855": "All P5 Spot Instance Requests",
}
"""Codes and names of Service Quotas for EC2; the unit of each is virtual CPUs."""
PRICES: dict[str | tuple[str, str], float] = {
    "t3.micro": 0.0104,
    "t3.medium": 0.0416,
    "m5.large": 0.096,
    "c5.xlarge": 0.17,
    "m7i.xlarge": 0.2016,
    "g4dn.xlarge": 0.526,
    "g5.xlarge": 1.006,
    "g6.xlarge": 0.8048,
    "p3.2xlarge": 3.06,
    "p4d.24xlarge": 21.96,
    "p5.48xlarge": 55.04,
}
"""US dollars an hour, on demand, in every region."""
_OTHER_PRICE = 1.0
_SPOT_SHARE, _ZONE_SHARE = 0.4, 0.02


class ServiceError(Exception):
    """An error of one of the JSON services: its code, and what it says."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def quota_code(instance_type: str, spot: bool) -> str:
    """The quota that an instance type counts in."""
    family = re.match(r"[a-z]+\d*", instance_type)
    name = family[0] if family else ""
    if not spot:
        return {"p": "L-417A185B", "g": "L-DB2E81BA", "vt": "L-DB2E81BA"}.get(name.rstrip("0123456789"), "L-1216C47A")
    if name.startswith("p"):
        return "L-7212CCBC" if name in ("p2", "p3", "p4") else "L-C4BD4855"
    return "L-3819A6DF" if name.startswith(("g", "vt")) else "L-34B43A08"


@dataclass
class Figures:
    """Quotas (by region and code), prices (by type, or type and region) and spot prices (by type and zone)."""

    quotas: dict[tuple[str, str], float] = field(default_factory=dict)
    prices: dict[str | tuple[str, str], float] = field(default_factory=PRICES.copy)
    spot_prices: dict[tuple[str, str], float] = field(default_factory=dict)
    requested: list[dict[str, Any]] = field(default_factory=list)
    default_quota: float = 1000.0

    def quota(self, region: str, code: str) -> float:
        return self.quotas.get((region, code), self.default_quota)

    def price(self, instance_type: str, region: str) -> float:
        everywhere = self.prices.get(instance_type, _OTHER_PRICE)
        return self.prices.get((instance_type, region), everywhere)

    def spot_price(self, instance_type: str, zone: str) -> float:
        """Less in the first zones of a region than in the last, unless it is set."""
        usual = self.price(instance_type, zone[:-1]) * (_SPOT_SHARE + _ZONE_SHARE * (ord(zone[-1]) - ord("a")))
        return self.spot_prices.get((instance_type, zone), round(usual, 6))

    # -- Service Quotas (https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/) --------------------------

    def service_quotas(self, action: str, region: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of Service Quotas. Raises ServiceError."""
        if action not in _QUOTA_ACTIONS:
            raise ServiceError("UnknownOperationException", f"{action} is not in the cloud for tests")
        if asked.get("ServiceCode", "ec2") != "ec2":
            raise ServiceError(
                "NoSuchResourceException", "The request failed because the specified service does not exist."
            )
        if action.startswith("ListRequested"):
            return {"RequestedQuotas": [one for one in self.requested if one["Region"] == region]}
        if action.startswith("List"):
            return {"Quotas": [self._quota(region, code) for code in QUOTAS]}
        code = asked.get("QuotaCode", "")
        if code not in QUOTAS:
            raise ServiceError(
                "NoSuchResourceException", "The request failed because the specified quota does not exist."
            )
        if action == "RequestServiceQuotaIncrease":
            return {"RequestedQuota": self._request(region, code, float(asked["DesiredValue"]))}
        return {"Quota": self._quota(region, code)}

    def _quota(self, region: str, code: str) -> dict[str, Any]:
        return {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{ACCOUNT}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": QUOTAS[code],
            "Value": self.quota(region, code),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }

    def _request(self, region: str, code: str, value: float) -> dict[str, Any]:
        if value <= self.quota(region, code):
            raise ServiceError(
                "IllegalArgumentException", "You must provide a quota value greater than the current value."
            )
        if any(one["QuotaCode"] == code and one["Region"] == region for one in self.requested):
            raise ServiceError(
                "ResourceAlreadyExistsException", "Only one open service quota increase request is allowed."
            )
        known = {
            name: self._quota(region, code)[name] for name in ("ServiceCode", "ServiceName", "QuotaArn", "QuotaName")
        }
        request = {"Id": uuid.uuid4().hex, "QuotaCode": code, "DesiredValue": value, "Status": "PENDING", **known}
        self.requested.append({**request, "Region": region, "Created": datetime.now(UTC).timestamp()})
        return request

    # -- AWS Price List (https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html) -------------

    def pricing(self, action: str, asked: Mapping[str, Any], regions: list[str]) -> dict[str, Any]:
        """The answer of AWS Price List's GetProducts, a hundred products a page. Raises ServiceError."""
        if action != "GetProducts" or asked.get("ServiceCode") != "AmazonEC2":
            raise ServiceError(
                "NotFoundException", f"{action} of {asked.get('ServiceCode')} is not in the cloud for tests"
            )
        wanted = {one["Field"]: one["Value"] for one in asked.get("Filters", [])}
        types = sorted({name if isinstance(name, str) else name[0] for name in self.prices})
        products = [self._product(name, region) for region in regions for name in types]
        found = [product for product in products if wanted.items() <= _fields(product).items()]
        start, most = int(asked.get("NextToken", 0)), int(asked.get("MaxResults", 100))
        more = {"NextToken": str(start + most)} if len(found) > start + most else {}
        return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(p) for p in found[start : start + most]]} | more

    def _product(self, instance_type: str, region: str) -> dict[str, Any]:
        sku = uuid.uuid5(uuid.NAMESPACE_DNS, f"{instance_type}.{region}").hex[:16].upper()
        attributes = {
            "instanceType": instance_type,
            "regionCode": region,
            "location": region,
            "locationType": "AWS Region",
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "capacitystatus": "Used",
            "preInstalledSw": "NA",
            "licenseModel": "No License required",
            "marketoption": "OnDemand",
            "servicecode": "AmazonEC2",
        }
        price = {
            "unit": "Hrs",
            "pricePerUnit": {"USD": f"{self.price(instance_type, region):.10f}"},
            "description": f"per On Demand Linux {instance_type} Instance Hour",
        }
        term = {"priceDimensions": {f"{sku}.JRTCKXETXF.6YS6EN2CT7": price}, "effectiveDate": "2025-01-01T00:00:00Z"}
        return {
            "product": {"productFamily": "Compute Instance", "sku": sku, "attributes": attributes},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
            "publicationDate": "2025-01-01T00:00:00Z",
        }


_QUOTA_ACTIONS = (
    "GetServiceQuota",
    "GetAWSDefaultServiceQuota",
    "ListServiceQuotas",
    "ListAWSDefaultServiceQuotas",
    "RequestServiceQuotaIncrease",
    "ListRequestedServiceQuotaChangeHistory",
    "ListRequestedServiceQuotaChangeHistoryByQuota",
)


def _fields(product: Mapping[str, Any]) -> dict[str, str]:
    return {"productFamily": product["product"]["productFamily"], **product["product"]["attributes"]}
