"""The sidebar's routes: who may use them, what they take, what they do; by a real server."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import websocket

from cellferry import __version__
from cellferry.config import Cellferry
from cellferry.jupyter.sidebar import serve

from .sidebar import TOKEN, Server, nothing_lasts, server, shared

__all__ = ["nothing_lasts", "server", "shared"]

METHODS = ("get", "post", "put", "delete", "patch", "head")


def routes() -> list[tuple[str, type[Any]]]:
    """Every route that the extension adds."""
    found: list[Any] = []
    app = SimpleNamespace(web_app=SimpleNamespace(settings={"base_url": "/"}, add_handlers=lambda _host, rows: found.extend(rows)))
    serve(app, Cellferry())
    return [(pattern, handler) for pattern, handler, _ in found]


def example(pattern: str) -> str:
    """A path that the route serves."""
    path = pattern.replace(r"((?i:starting(?::|%3a)\d+(?::|%3a))[^/]+)", "starting:1:a").replace("([0-9A-Za-z_.-]+)", "w-1")
    path = path.replace(r"(\w+)", "1").lstrip("/")
    assert re.fullmatch(pattern, "/" + path), path
    return path


ROUTES = routes()


@pytest.mark.parametrize(("pattern", "handler"), ROUTES, ids=[pattern for pattern, _ in ROUTES])
def test_no_route_answers_a_stranger(shared: Server, pattern: str, handler: type[Any]) -> None:
    served = 0
    for method in METHODS:
        for token in ("", "wrong"):
            answer = shared.ask(method.upper(), example(pattern), {} if method in ("post", "put", "patch") else None, token=token)
            assert answer.status in (401, 403, 405), (method, answer.status, answer.body)
            served += answer.status != 405
    assert served
    if issubclass(handler, websocket_handler()):
        for token in ("", "?token=wrong"):
            with pytest.raises(websocket.WebSocketBadStatusException) as refused:
                websocket.create_connection(f"{shared.ws}{example(pattern)}{token}", timeout=30)
            assert refused.value.status_code == 403


def websocket_handler() -> type[Any]:
    from tornado.websocket import WebSocketHandler

    return WebSocketHandler


def test_a_page_of_another_site_opens_no_socket(shared: Server) -> None:
    cookie = cookies(shared)
    websocket.create_connection(f"{shared.ws}cellferry/api/live", cookie=cookie, timeout=30).close()
    for path in ("api/live", "api/workers/w-1/terminals/terminals/websocket/1"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            websocket.create_connection(f"{shared.ws}cellferry/{path}", cookie=cookie, origin="http://evil.example", timeout=30)
        assert refused.value.status_code in (403, 404)


def cookies(server: Server) -> str:
    """Those of a browser that has logged in."""
    login = server.ask("GET", f"tree?token={TOKEN}", token="")
    found = "; ".join(part.split(";")[0] for part in login.headers.get_all("Set-Cookie") or [])
    assert "username-" in found
    return found


def test_a_forged_request_is_refused(shared: Server) -> None:
    """A browser that is logged in by its cookie must send the token against forgery as well."""
    cookie = cookies(shared)
    forged = shared.ask("POST", "cellferry/api/check", {"words": ""}, token="", headers={"Cookie": cookie})
    assert forged.status == 403 and b"_xsrf" in forged.body
    xsrf = re.search(r"_xsrf=([^;]+)", cookie)
    assert xsrf
    honest = shared.ask("POST", "cellferry/api/check", {"words": ""}, token="", headers={"Cookie": cookie, "X-XSRFToken": xsrf[1]})
    assert honest.status == 200


def test_every_answer_is_json_and_to_be_taken_as_nothing_else(shared: Server) -> None:
    for method, path in (("GET", "version"), ("GET", "words"), ("POST", "offers"), ("GET", "workers/none/logs")):
        answer = shared.ask(method, f"cellferry/api/{path}", {"words": "x=y"} if method == "POST" else None)
        assert answer.headers["Content-Type"].startswith("application/json") and answer.headers["X-Content-Type-Options"] == "nosniff"
        assert isinstance(answer.json, dict)
        if answer.status != 200:
            assert answer.json["message"] and "advice" in answer.json


@pytest.mark.parametrize(("method", "path", "body"), [
    ("POST", "check", b"{"),
    ("POST", "check", []),
    ("POST", "check", {}),
    ("POST", "check", {"words": 7}),
    ("POST", "check", {"words": "x" * 3000}),
    ("POST", "check", {"words": "gpu=a100\nmore"}),
    ("POST", "check", {"words": "", "more": 1}),
    ("POST", "workers", {"words": "provider=demo"}),
    ("POST", "workers", {"words": "provider=demo", "notebook": "../a.ipynb"}),
    ("POST", "workers", {"words": "provider=demo", "notebook": "/etc/a.ipynb"}),
    ("POST", "workers", {"words": "gpu=a1oo:x provider=demo", "notebook": "a.ipynb"}),
    ("POST", "workers", {"words": "estimate", "notebook": "a.ipynb"}),
    ("POST", "workers", {"words": "", "notebook": "closed.ipynb"}),
    ("PUT", "budget", {"period": "year", "usd": 1}),
    ("PUT", "budget", {"period": "day", "usd": -1}),
    ("PUT", "budget", {"period": "day", "usd": "5"}),
    ("PUT", "budget", {"period": "day"}),
    ("PUT", "budget", {"period": "notebook", "usd": 5}),
    ("POST", "workers/w-1/extend", {"usd": 0}),
    ("POST", "workers/w-1/interrupt", {"hard": True}),
])  # fmt: skip
def test_what_does_not_fit_is_refused_clearly(shared: Server, method: str, path: str, body: Any) -> None:
    answer = shared.ask(method, f"cellferry/api/{path}", body)
    assert answer.status == 400 and answer.json["message"], answer.body


@pytest.mark.parametrize(("method", "path", "body"), [
    ("DELETE", "workers/none", None), ("DELETE", "workers/starting:1:none", None), ("DELETE", "workers/starting%3A1%3Anone", None),
    ("POST", "workers/none/extend", {"usd": 1}), ("POST", "workers/none/interrupt", {}), ("GET", "workers/none/logs", None),
    ("GET", "workers/none/terminals/api/terminals", None), ("GET", "workers/none/terminals/api/terminals/1", None),
])  # fmt: skip
def test_an_unknown_worker_is_not_found(shared: Server, method: str, path: str, body: Any) -> None:
    answer = shared.ask(method, f"cellferry/api/{path}", body)
    assert answer.status == 404 and answer.json["message"], answer.body


def test_a_long_request_is_refused(shared: Server) -> None:
    assert shared.ask("POST", "cellferry/api/check", {"words": "x" * 100_000}).status == 413


def test_version_and_words(shared: Server) -> None:
    assert shared.get("version") == {"version": __version__, "protocol": 1}
    options = {option["name"]: option for option in shared.get("words")["options"]}
    assert options["gpu"]["example"] == "gpu=a100" and options["spot"]["flag"] and not options["gpu"]["flag"]


def test_words_are_checked(shared: Server) -> None:
    def check(words: str) -> Any:
        return shared.ask("POST", "cellferry/api/check", {"words": words}).json

    assert check("  gpu=a100   provider=demo ") == {"ok": True, "message": "", "advice": "", "words": "gpu=a100 provider=demo"}
    wrong = check("gpo=a100")
    assert not wrong["ok"] and "gpo" in wrong["message"] and "gpu" in wrong["advice"]
    nobody = check("gpu=a100")
    assert not nobody["ok"] and "no provider is set up" in nobody["message"] and "provider=demo" in nobody["advice"]


def offers(server: Server, words: str) -> dict[str, Any]:
    return dict(server.ask("POST", "cellferry/api/offers", {"words": words}).json)


def test_offers_are_sorted_and_say_what_to_write(shared: Server) -> None:
    told = offers(shared, "gpu=a100 budget=5")
    assert told["problems"] == [] and len(told["offers"]) > 3
    prices = [min(p for p in (o["microusd_per_hour"], o["spot_microusd_per_hour"]) if p is not None) for o in told["offers"]]
    assert prices == sorted(prices)
    first = told["offers"][0]
    assert first["gpu"] == "a100" and first["simulated"] and first["likelihood"] and first["price_age_s"] > 0
    assert first["words"] == f"gpu=a100:{first['gpu_count']} provider=demo region={first['region']} budget=5"
    assert shared.ask("POST", "cellferry/api/check", {"words": first["words"]}).json["ok"]
    everything = offers(shared, "")["offers"]
    assert {offer["provider"] for offer in everything} == {"local", "demo"}
    plain = next(offer for offer in everything if offer["provider"] == "demo" and not offer["gpu"])
    assert f"cpus={plain['cpus']}" in plain["words"]


def test_offers_that_do_not_fit_are_a_problem_with_advice(shared: Server) -> None:
    told = offers(shared, "gpu=nonesuch")
    assert told["offers"] == [] and len(told["problems"]) == 1 and "nonesuch" in told["problems"][0]
    assert shared.ask("POST", "cellferry/api/offers", {"words": "gpo=1"}).status == 400


def test_words_of_a_notebook_have_no_machine_asked_that_is_not_configured(shared: Server) -> None:
    """Opening a notebook looks for the offers of its cells' words, and they may be anybody's."""
    told = offers(shared, "provider=ssh host=me@stranger.example")
    assert told["offers"] == [] and "was not asked" in told["problems"][0] and "c.Cellferry.hosts" in told["problems"][0]


@pytest.mark.parametrize("path", ["offers?words=provider%3Dlocal", "doctor"])
def test_what_asks_and_tries_is_not_done_for_a_link(shared: Server, path: str) -> None:
    """A page that the user visits can have a GET made with the user's cookie; a POST needs the token that it cannot read."""
    assert shared.ask("GET", f"cellferry/api/{path}").status == 405


def test_the_doctor_says_what_is_not_configured(shared: Server) -> None:
    checks = {check["name"]: check for check in shared.ask("POST", "cellferry/api/doctor", {}).json["checks"]}
    assert checks["kernel"]["ok"] and checks["demo"]["ok"]
    assert not checks["aws"]["ok"] and "aws_regions" in checks["aws"]["advice"]


def test_a_budget_is_set_told_and_forgotten(server: Server) -> None:
    panel = server.live()
    rows = panel.until(lambda s: s["budget"]["rows"])
    assert [(row["period"], row["limit_microusd"], row["spent_microusd"]) for row in rows] == [("day", None, 0), ("month", None, 0)]
    server.notebook("deep.ipynb")
    panel.until(lambda s: [r for r in s["budget"]["rows"] if r["notebook"] == "deep.ipynb"], "the open notebook has a row")
    for body in ({"period": "day", "usd": 12.5}, {"period": "notebook", "usd": 3, "notebook": "deep.ipynb"}):
        assert server.ask("PUT", "cellferry/api/budget", body).status == 200
    limits = {"day": 12_500_000, "month": None, "notebook": 3_000_000}
    panel.until(lambda s: {r["period"]: r["limit_microusd"] for r in s["budget"]["rows"]} == limits, "both limits")
    assert {row["period"]: row["left_microusd"] for row in panel.sections["budget"]["rows"]} == limits
    server.ask("PUT", "cellferry/api/budget", {"period": "day", "usd": None})
    panel.until(lambda s: [r for r in s["budget"]["rows"] if r["period"] == "day" and r["limit_microusd"] is None], "forgotten")
