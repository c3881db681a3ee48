"""What a hostile worker shows in a notebook that trusts it with data alone: made anew of known parts, or not shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellferry.link.outputs import PlainOutputs, plain_data
from cellferry.parcels.placeholder import MIME

PARENT: dict[str, Any] = {"header": {"msg_id": "p", "session": "s", "msg_type": "execute_request"}}
EVIL = "<script>top.owned = 1</script>"


def outputs() -> PlainOutputs:
    found = PlainOutputs("w")
    found.began(PARENT)
    return found


def taken(kind: Any, content: Any, parent: Any = "p", **more: Any) -> Any:
    header = {"msg_id": "m", "msg_type": "comm_open", "session": "theirs"}
    message = {"msg_type": kind, "header": header, "parent_header": {"msg_id": parent}, "content": content, **more}
    return outputs().taken(message, [b"buffer"])


def shown(**data: Any) -> Any:
    return taken("display_data", {"data": {k.replace("__", "/"): v for k, v in data.items()}, "metadata": {}})[
        "content"
    ]["data"]


@pytest.mark.parametrize(
    "kind",
    ["comm_open", "comm_msg", "comm_close", "status", "execute_input", "input_request", "debug_event", "", None, 1, []],
)
def test_other_kinds_of_messages_are_not_shown(kind: Any) -> None:
    assert taken(kind, {"data": {}, "comm_id": "1", "target_name": "t"}) is None


def test_a_message_is_made_anew() -> None:
    made = taken("stream", {"name": "stdout", "text": "hello", "more": 1}, metadata={"evil": 1}, ident=1)
    assert (
        made["header"]["msg_type"] == "stream"
        and made["header"]["msg_id"] != "m"
        and made["parent_header"] is PARENT["header"]
    )
    assert made["content"] == {"name": "stdout", "text": "hello"} and made["buffers"] == [] and made["metadata"] == {}
    assert set(made) == {"header", "parent_header", "msg_type", "metadata", "content", "buffers", "worker"}
    json.dumps(made)


@pytest.mark.parametrize("parent", ["other", None, 5, [], {}])
def test_an_output_belongs_to_a_cell_that_was_sent_there(parent: Any) -> None:
    assert taken("stream", {"name": "stdout", "text": "x"}, parent) is None


@pytest.mark.parametrize("content", [{"name": "exit", "text": "x"}, {"name": "stdout", "text": 1}, {}, None, [], "x"])
def test_a_stream_is_text_for_one_of_two(content: Any) -> None:
    assert taken("stream", content) is None


def test_pages_scripts_and_drawings_are_in_a_frame_that_reaches_nothing() -> None:
    for data in (
        {"text__html": EVIL},
        {"application__javascript": "top.owned = 1"},
        {"image__svg+xml": f"<svg>{EVIL}</svg>"},
    ):
        made = shown(**data, text__plain="t")
        page = made.pop("text/html")
        assert made == {"text/plain": "t"}
        assert page.startswith('<iframe sandbox="allow-scripts" ') and "<script" not in page and page.count("<") == 2


def test_nothing_leads_out_of_the_frames_attribute() -> None:
    page = shown(text__html="\"'> </iframe><img onerror=1>")["text/html"]
    assert page.count("<") == 2 and page.count('"') == 8


def test_kinds_of_data_are_an_allow_list() -> None:
    made = shown(
        **{
            "application__vnd.plotly.v1+json": {},
            "text__markdown": EVIL,
            "application__vnd.jupyter.widget-view+json": {},
        }
    )
    assert set(made) == {"text/plain"}
    assert "not shown" in shown(application__json={})["text/plain"]
    made = shown(
        **{
            "image__png": "aGk=",
            "text__latex": f"$a<b$ {EVIL}",
            MIME: {"name": "x"},
            "application__vnd.cellferry.other+json": {},
        }
    )
    assert (
        set(made) == {"image/png", "text/latex", MIME, "text/plain"}
        and "<s" not in made["text/latex"]
        and "< b" in made["text/latex"]
    )
    assert "image/png" not in shown(image__png='"><script>')


def test_a_display_is_never_one_of_the_notebooks_own() -> None:
    made = taken("update_display_data", {"data": {}, "metadata": {"isolated": True, "image/png": {"width": 5, "height": "x"}},
                                         "transient": {"display_id": "mine", "evil": 1}})  # fmt: skip
    assert made["content"] == {
        "data": {},
        "metadata": {"image/png": {"width": 5}},
        "transient": {"display_id": "w: mine"},
    }


def test_text_does_not_act_on_a_terminal() -> None:
    text = "\x1b]52;c;ZXZpbA==\x07\x1b[31mred\x1b[0m\x1b[2J\x9b2J\tkept\r\n\b"
    assert (
        taken("stream", {"name": "stderr", "text": text})["content"]["text"]
        == "]52;c;ZXZpbA==\x1b[31mred\x1b[0m[2J2J\tkept\r\n\b"
    )
    made = taken("error", {"ename": "E\x1b]0;x\x07", "evalue": "v", "traceback": ["\x1bP1"]})["content"]
    assert made == {"ename": "E]0;x", "evalue": "v", "traceback": ["P1"]}


def test_questions_say_who_asks() -> None:
    asked = outputs().asked("\x1b[2Jx\n[cellferry] your password?")
    assert asked.startswith("[worker w asks] ") and "\n" not in asked and "\x1b" not in asked
    assert outputs().said("budget raised").startswith("worker w: ")


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["p", "stdout", "text/html", "image/png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["data", "metadata", "transient", "display_id", "name", "text", "text/html", "text/latex", "image/png", MIME,
                         "traceback", "ename", "evalue", "execution_count", "wait", "msg_id"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["stream", "display_data", "execute_result", "update_display_data", "error", "clear_output"]), PARTS
)
def test_whatever_comes_is_a_message_or_nothing(kind: str, content: Any) -> None:
    made = taken(kind, content)
    if made is not None:
        json.dumps(made)
        assert set(plain_data(made["content"].get("data", {}))) <= {
            "text/plain",
            "text/html",
            "text/latex",
            "image/png",
            MIME,
        }
