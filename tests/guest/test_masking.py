"""What a message shows of a secret: nothing, wherever in it and however it is split."""

from __future__ import annotations

import base64
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.guest.masking import Masking

SECRET = "s3cr3t-abcabc-value"


@pytest.fixture(scope="module")
def masking() -> Masking:
    made = Masking()
    made.begin({}, {"KEY": SECRET})
    return made


def test_keys_of_a_display_are_masked_as_its_values_are(masking: Masking) -> None:
    shown = masking.content("display_data", {"data": {"application/json": {SECRET: [SECRET, {SECRET: 1}], "n": 1}}})
    assert shown == {"data": {"application/json": {"[KEY]": ["[KEY]", {"[KEY]": 1}], "n": 1}}}


@given(st.lists(st.sampled_from([SECRET, SECRET[:5], SECRET[:9], "abc", "\n", "x"]), max_size=6), st.data())
def test_a_stream_is_masked_however_it_is_cut(parts: list[str], data: st.DataObject) -> None:
    masking = Masking()
    masking.begin({}, {"KEY": SECRET})
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    shown = ""
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        content = masking.content("stream", {"name": "stdout", "text": text[start:end]})
        shown += content["text"] if content else ""
    shown += "".join(content["text"] for content in masking.rest())
    assert shown == text.replace(SECRET, "[KEY]")


@given(
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=9, max_size=40).map("kE4".__add__),
    st.binary(max_size=9),
    st.binary(max_size=9),
)
def test_base64_and_url_forms_are_masked_wherever_they_stand(secret: str, before: bytes, after: bytes) -> None:
    masking = Masking()
    masking.begin({}, {"KEY": secret})
    whole = before + secret.encode() + after
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        coded = encode(whole).decode()
        assert "[KEY]" in masking.text(coded) and "[KEY]" in masking.text(quote(coded, safe="")), coded
    for form in (quote(secret, safe=""), quote_plus(secret), quote(quote(secret, safe=""), safe="")):
        assert masking.text(f"https://h.example/?k={form}&x=1") == "https://h.example/?k=[KEY]&x=1"


def test_a_basic_authorization_header_is_masked() -> None:
    masking = Masking()
    masking.begin({}, {"PW": "c0rrect-horse"})
    for user in ("a", "ab", "abc", "abcd"):
        shown = masking.text(base64.b64encode(f"{user}:c0rrect-horse".encode()).decode())
        left = base64.b64decode(shown.partition("[PW]")[0] + "===")
        assert "[PW]" in shown and b"c0rr" not in left, shown
