"""Today's prices from AWS: on demand from the price list, spot from the history of each zone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from cellferry.errors import CellferryError
from cellferry.model import Offer
from cellferry.providers.aws_session import Sessions, in_parallel
from cellferry.providers.base import Progress

PRICING_REGION = "us-east-1"
"""The price list has an endpoint in few regions; this one knows the prices of all
(https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html)."""
FILTERS = {
    "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used",
    "marketoption": "OnDemand",
}  # fmt: skip
MICRO = 1_000_000


def live_offers(sessions: Sessions, known: Sequence[Offer], progress: Progress) -> list[Offer]:
    """``known`` at today's prices, in all regions at once: one offer for each region on demand, one for each zone spot.

    Only kinds of machines that ``known`` has: the price list does not say which GPU there is. Raises CellferryError.
    """
    now = time.time()

    def of_region(region: str) -> list[Offer]:
        kinds = {offer.instance: offer for offer in known if offer.region == region}
        fixed = on_demand(_products(sessions, region), kinds, now)
        changing = spot(_history(sessions, region, sorted(kinds)), kinds, now)
        progress(f"AWS: {len(fixed)} prices on demand and {len(changing)} spot prices in {region}")
        return fixed + changing

    found: list[Offer] = []
    for answer in in_parallel(of_region, sessions.regions):
        if isinstance(answer, CellferryError):
            raise answer
        found += answer
    return found


def _products(sessions: Sessions, region: str) -> Iterable[dict[str, Any]]:
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in {**FILTERS, "regionCode": region}.items()]
    for text in sessions.pages("pricing", PRICING_REGION, "get_products", "PriceList", ServiceCode="AmazonEC2", Filters=filters):
        yield json.loads(text)


def _history(sessions: Sessions, region: str, instances: Sequence[str]) -> list[dict[str, Any]]:
    if not instances:
        return []
    return sessions.pages(
        "ec2", region, "describe_spot_price_history", "SpotPriceHistory", StartTime=time.time(),
        ProductDescriptions=["Linux/UNIX"], InstanceTypes=list(instances),
    )  # fmt: skip


def on_demand(products: Iterable[dict[str, Any]], kinds: dict[str, Offer], now_unix_s: float) -> list[Offer]:
    """Offers for what the price list says of these kinds of machines."""
    found = []
    for product in products:
        kind = kinds.get(product["product"]["attributes"].get("instanceType", ""))
        price = _hourly(product)
        if kind is not None and price:
            found.append(
                replace(
                    kind, zone="", microusd_per_hour=price, spot_microusd_per_hour=None, priced_unix_s=now_unix_s,
                    price_source="AWS price list",
                )
            )  # fmt: skip
    return found


def _hourly(product: dict[str, Any]) -> int:
    """Micro-dollars an hour; 0 if it is not sold by the hour."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            if dimension.get("unit") == "Hrs":
                return micro(dimension["pricePerUnit"].get("USD", "0"))
    return 0


def spot(history: Iterable[dict[str, Any]], kinds: dict[str, Offer], now_unix_s: float) -> list[Offer]:
    """Offers for the newest spot price of each zone."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in history:
        key = (row["InstanceType"], row["AvailabilityZone"])
        if key not in newest or row["Timestamp"] > newest[key]["Timestamp"]:
            newest[key] = row
    return [
        replace(
            kinds[instance], zone=zone, microusd_per_hour=None, spot_microusd_per_hour=micro(row["SpotPrice"]),
            priced_unix_s=now_unix_s, price_source="AWS spot price history",
        )
        for (instance, zone), row in newest.items()
        if instance in kinds
    ]  # fmt: skip


def micro(dollars: str) -> int:
    """Micro-dollars, rounded up: what is reserved must be enough."""
    return int((Decimal(dollars) * MICRO).to_integral_value(ROUND_CEILING))
