"""What a message shows of a secret: nothing, wherever in it and however it is split."""

from __future__ import annotations

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
