"""What a cell would send is looked at as it was packed: keys are seen in whatever they are kept, and blobs raise no alarm."""

from __future__ import annotations

import base64
import random
import string
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.capture.secret_forms import kind_of_secret
from cellferry.capture.secrets import find_in_source, look
from cellferry.parcels.heap import Heap
from cellferry.parcels.leaves import readable
from cellferry.parcels.parcel import PackPlan, pack

from .secret_formats import FORMATS, MORE, Maker
from .secret_places import PLACES

KEY = FORMATS["github"](Maker(3))


def tokens(value: object) -> list[str]:
    """What is found in a value that would be sent."""
    parcel = pack(Heap({}), {"x": value}, PackPlan())
    return [found.token for found in look([*parcel.written, *readable(parcel.leaves)])]


def test_there_are_46_of_each() -> None:
    assert len(PLACES) == len(FORMATS) == 46


@pytest.mark.parametrize("place", PLACES)
def test_a_key_is_seen_wherever_it_is(place: str) -> None:
    make = PLACES[place]
    assert KEY in tokens(make(KEY))
    assert not tokens(make("nothing in particular"))


@pytest.mark.parametrize("name", [*FORMATS, *MORE])
def test_a_form_is_seen_in_any_text(name: str) -> None:
    for seed in range(5):
        text = {**FORMATS, **MORE}[name](Maker(seed))
        assert kind_of_secret(text), text
        assert kind_of_secret(f"first line\n{text}\nlast line"), text
        assert tokens({"note": [text]}), text
        assert find_in_source(f"a = 1\nb = call({text!r})"), text


def test_comments_of_a_cell_are_looked_at() -> None:
    assert find_in_source(f"a = 1\n# the key was {KEY}\nb = 2").where == "the text in line 2 of the cell"  # type: ignore[union-attr]
    assert find_in_source(f"a = 1  # api_key={Maker(1)(16)}")
    assert find_in_source("password = settings.passwords2  # from api_key2 of the settings") is None
    assert find_in_source(f"a = 1  # {KEY}  # pragma: allowlist secret") is None


def blob(draw: random.Random) -> object:
    """What is everywhere in notebooks and looks like nothing: images, hashes, identifiers, weights."""
    raw = draw.randbytes(draw.randrange(20, 4000))
    return draw.choice([
        lambda: raw, lambda: base64.b64encode(raw).decode(), lambda: base64.urlsafe_b64encode(raw).decode(), raw.hex,
        lambda: raw.hex().upper(), lambda: base64.b32encode(raw).decode(), lambda: base64.b85encode(raw).decode(),
        lambda: raw.decode("latin-1"), lambda: [str(uuid.UUID(bytes=raw[:16])) for _n in range(9)],
        lambda: "".join(draw.choices(string.printable, k=len(raw))),
        lambda: "".join(draw.choices(string.ascii_letters + string.digits, k=len(raw))),
        lambda: {"".join(draw.choices(string.ascii_lowercase, k=6)): "".join(draw.choices(string.hexdigits, k=40)) for _n in range(9)},
        lambda: " ".join("".join(draw.choices(string.ascii_letters, k=draw.randrange(2, 20))) for _n in range(len(raw) // 10)),
    ])()  # fmt: skip


def test_no_more_than_one_false_alarm_in_3000_blobs() -> None:
    draw = random.Random(20261201)
    blobs = [blob(draw) for _n in range(3000)]
    assert sum(1 for each in blobs if next(look(each if isinstance(each, list) else [each]), None)) <= 1


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=30) | st.binary(max_size=30),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)),
       st.sampled_from([*FORMATS.values()]), st.integers(0, 100))  # fmt: skip
def test_a_key_beside_any_value_is_seen(value: object, make, seed: int) -> None:
    text = make(Maker(seed))
    assert len(tokens([value, {"note": text, "value": value}, value])) > len(tokens([value, value]))


def test_a_key_in_a_table_is_seen_beside_much_text() -> None:
    words = [f"nothing in particular, number {n}" for n in range(50_000)]
    assert KEY in tokens([words, {"note": KEY}, words[:10]])
    assert KEY in tokens([words, {"note": [KEY]}])  # among the last ones


def test_names_give_a_text_away_in_whatever_they_name_it() -> None:
    import collections
    import types

    import pandas as pd

    password = "hunter2-and-more"
    scope: dict = {"__name__": "__main__"}
    exec(
        "def connect(password='hunter2-and-more'):\n    return 1\ndef outer(password):\n    return lambda: password",
        scope,
    )
    Row = collections.namedtuple("Row", ["user", "password"])
    for value in [
        {"db_password": password}, collections.OrderedDict(password=password), types.SimpleNamespace(password=password),
        scope["connect"], scope["outer"](password), Row("me", password), {"auth": ("me", password)}, [{"password": password}] * 3,
        pd.DataFrame({"user": ["me"], "password": [password]}), f"user: me\npassword: {password}\n",
    ]:  # fmt: skip
        assert tokens(value), value
    for value in [{"password_column": "password1"}, {"tokenizer": "meta-llama/Llama-3.1-8B-Instruct"}, {"secret_name": "app-v2-key"},
                  {"key": password}, ["password", "address_line1"]]:  # fmt: skip
        assert not tokens(value), value
