"""What looks like a credential, and what a data scientist types every day and must not be bothered with."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture.secret_forms import kind_of_secret
from cellferry.capture.secrets import by_name, find_in_source, look, path_of, secret_variables
from cellferry.parcels.heap import Heap
from cellferry.parcels.parcel import PackPlan, pack


def made_up(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """A text as a service would make it, the same in every run and nobody's."""
    return "".join(random.Random(length).choices(alphabet, k=length))


def found_in(values: Mapping[str, object], known: Iterable[str] = ()) -> str:
    """The first of the named values with a credential in it, and the way there; "" for none. As for a cell: what is packed."""
    for name, value in values.items():
        found = by_name(name, value) or next(look(pack(Heap({}), {name: value}, PackPlan()).written, known), None)
        if found:
            return path_of(found.token, name, value) or name
    return ""


HEX, UPPER = "0123456789abcdef", string.ascii_uppercase + string.digits
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
HOSTILE = [
    "AKIA" + made_up(16, UPPER), "ASIA" + made_up(16, UPPER), "ghp_" + made_up(36), "gho_" + made_up(36), "ghs_" + made_up(36),
    "glpat-" + made_up(20), "xoxb-" + made_up(12, string.digits) + "-" + made_up(24), "sk_live_" + made_up(24),
    "rk_live_" + made_up(24), "sk-" + made_up(20) + "T3BlbkFJ" + made_up(20), "sk-proj-" + made_up(48), "sk-ant-api03-" + made_up(60),
    "SG." + made_up(22) + "." + made_up(43), "hf_" + made_up(34), "AIza" + made_up(35), JWT, "pypi-AgEIcHlwaS5vcmc" + made_up(80),
    "//registry.example/:_authToken=npm_" + made_up(36), "postgresql://scott:ti9er_x@db.example/main",
    "https://user:pa55word@example.org/simple", "mongodb://root:ex4mple@localhost:27017",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE" + made_up(64) + "\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "-----BEGIN EC PRIVATE KEY-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----",
    "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=" + made_up(86) + "==;EndpointSuffix=core.windows.net",
    "AC" + made_up(32, string.ascii_lowercase + string.digits), "SK" + made_up(32, string.ascii_lowercase + string.digits),
    made_up(32, HEX) + "-us12", made_up(10, string.digits) + ":" + made_up(35),
    "https://hooks.slack.com/services/T" + made_up(8, UPPER) + "/B" + made_up(8, UPPER) + "/" + made_up(24),
]  # fmt: skip
HOSTILE_BY_NAME = [
    ("password", "hunter2secret"), ("db_password", "c0rrect-horse"), ("api_key", "0a1b2c3d4e5f"), ("API_KEY", "zxcv-0987-asdf"),
    ("client_secret", "q1w2e3r4t5"), ("passwd", "tr0ub4dor&3"), ("private_key", "9f8e7d6c5b4a"), ("hf_token", made_up(37)),
    ("access_token", made_up(40)), ("secret", "s3cr3t-value"),
]  # fmt: skip
BENIGN = {
    "token": "the", "tokens": ["a", "b"], "tokenizer_name": "bert-base-uncased", "pad_token": "<pad>", "eos_token": "</s>",
    "token_ids": [101, 102], "secret_santa": "Alice", "key": "user_id", "keys": ["a", "b"], "primary_key": "id",
    "password_column": "password", "passwords": [], "has_password": True, "pwd": "/home/me/project", "api_key": None,
    "api_key_name": "OPENAI_API_KEY", "password": "", "password_hint": "the name of your dog", "text": "My password is a secret!",
    "commit": made_up(40, HEX), "sha256": made_up(64, HEX), "identifier": str(uuid.UUID(int=7)), "base64": made_up(400) + "==",
    "url": "https://example.org/data.csv", "s3": "s3://bucket/key/part-0001.parquet", "dsn": "postgresql://localhost/db",
    "address": "me@example.org", "regex": r"(\w+):(\d+)@(.*)", "time": "2026-11-25T12:00:00Z", "sql": "select token from t where key = 1",
    "model_id": "meta-llama/Llama-3-8B-Instruct", "sk_model": "sk-learn pipeline", "version": "1.2.3-rc.1+build5",
    "html": "<a href='https://x.example/?token=abc'>x</a>", "column": "access_token", "dtype": "datetime64[ns]",
    "latex": r"\frac{a}{b}", "dna": "ACGT" * 20, "json": '{"a": {"b": [1, 2]}}', "eye": "eyJust a word", "words": "ASIA AFRICA EUROPE",
    "phone": "+49 30 1234567", "iban": "DE89370400440532013000", "color": "#a0b1c2", "path": "~/.aws/credentials", "n": 3,
    "numbers": list(range(1000)), "nested": {"a": {"b": ["x"] * 5}}, "bytes": b"\x00\x01", "none": None,
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_credentials_are_seen_wherever_they_are(text: str) -> None:
    assert kind_of_secret(text), text
    assert found_in({"x": text}) == "x"
    assert found_in({"config": {"service": [{"note": "a", "value": text}]}}) == "config['service'][0]['value']"
    found = find_in_source(f"a = 1\nb = call({text!r})")
    assert found and text not in str(found.error())


@pytest.mark.parametrize(("name", "text"), HOSTILE_BY_NAME)
def test_names_give_them_away(name: str, text: str) -> None:
    assert found_in({name: text}) and found_in({"settings": {name: text}})
    for source in (
        f"{name} = {text!r}",
        f"connect({name}={text!r})",
        f"c = {{{name!r}: {text!r}}}",
        f"c[{name!r}] = {text!r}",
        f"c.{name}: str = {text!r}",
    ):
        assert find_in_source(source), source


@pytest.mark.parametrize("name", BENIGN)
def test_everyday_values_pass(name: str) -> None:
    assert not found_in({name: BENIGN[name]})
    assert find_in_source(f"{name} = {BENIGN[name]!r}") is None


@dataclass
class Client:
    host: str
    api_key: str


def test_inside_of_objects_without_running_their_code() -> None:
    class Trap:
        @property
        def password(self) -> str:
            raise AssertionError("code of the value was run")

    assert found_in({"trap": Trap(), "client": Client("h", "0a1b2c3d4e5f")}) == "client.api_key"


def test_values_of_secret_variables_are_known() -> None:
    environ = {"MY_TOKEN": "abcdefgh1", "PATH": "/bin:/usr1", "KEYBOARD": "us", "OTHER": "abcdefgh2"}
    assert secret_variables(environ) == {"MY_TOKEN": "abcdefgh1"}
    assert found_in({"x": ["abcdefgh1"]}, ["abcdefgh1"]) and not found_in({"x": "abcdefgh2"}, ["abcdefgh1"])
    long = "0123456789abcdefg"
    assert found_in({"x": f"in a text: {long}"}, [long]) and not found_in({"x": "in a text: abcdefgh1"}, ["abcdefgh1"])


def test_a_pragma_lets_a_line_pass() -> None:
    line = f"key = {HOSTILE[0]!r}"
    assert find_in_source(f"x = 1\n{line}").where == "the text in line 2 of the cell"  # type: ignore[union-attr]
    assert find_in_source(f"x = 1\n{line}  # pragma: allowlist secret") is None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=30) | st.binary(max_size=30),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)))  # fmt: skip
def test_any_value_can_be_looked_at(value: object) -> None:
    assert found_in({"value": value}).startswith("value") or not found_in({"value": value})


def test_a_value_that_contains_itself_ends() -> None:
    loop: list = []
    loop.append(loop)
    assert not found_in({"loop": loop})


def test_a_secret_variable_written_into_the_cell() -> None:
    assert find_in_source("x = 'abcdefgh1'", 0, ["abcdefgh1"]) and not find_in_source("x = 'abcdefgh1'")
