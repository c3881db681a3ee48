"""Widgets whose Python half is on a worker: they stay alive after their cell, in both directions."""

from __future__ import annotations

import pytest

MAKE = """%%remote
import ipywidgets
slider = ipywidgets.IntSlider(value=3)
def moved(change):
    print('moved to', change['new'])
slider.observe(moved, 'value')
display(slider)
"""


@pytest.fixture(scope="module")
def slider(doors):
    """The comm id of a remote slider."""
    return doors.run(MAKE).data("display_data", "application/vnd.jupyter.widget-view+json")["model_id"]


def move(comm_id, value):
    return {"comm_id": comm_id, "data": {"method": "update", "state": {"value": value}, "buffer_paths": []}}


def test_moving_the_slider_calls_the_remote_callback_before_the_local_idle(doors, slider):
    _, seen = doors.ask("comm_msg", move(slider, 7))
    assert [m["content"]["text"] for m in seen if m["msg_type"] == "stream"] == ["moved to 7\n"]
    echoed = [m["content"]["data"]["state"]["value"] for m in seen if m["msg_type"] == "comm_msg"]
    assert 7 in echoed


def test_the_worker_moves_the_slider(doors, slider):
    outcome = doors.run("%%remote\nslider.value = 11")
    states = [c["data"]["state"] for c in outcome.of("comm_msg") if c["comm_id"] == slider]
    assert {"value": 11} in states


def test_comm_info_lists_remote_widgets(doors, slider):
    message_id, _ = doors.ask("comm_info_request", {"target_name": "jupyter.widget"})
    assert slider in doors.reply_to(message_id)["comms"]


def test_a_reloaded_page_asks_each_widget(doors, slider):
    doors.run("import ipywidgets; here = ipywidgets.IntSlider(value=5)")
    _, seen = doors.ask("comm_open", {"comm_id": "control-1", "target_name": "jupyter.widget.control", "data": {}})
    assert [m["content"]["comm_id"] for m in seen if m["msg_type"] == "comm_close"] == ["control-1"]
    _, seen = doors.ask("comm_msg", {"comm_id": slider, "data": {"method": "request_state"}})
    states = [m["content"]["data"]["state"] for m in seen if m["msg_type"] == "comm_msg"]
    assert any(state.get("_model_name") == "IntSliderModel" for state in states)
    local = doors.run("here.comm.comm_id").data().strip("'")
    _, seen = doors.ask("comm_msg", {"comm_id": local, "data": {"method": "request_state"}})
    assert any(m["msg_type"] == "comm_msg" for m in seen)


def test_binary_buffers_travel(doors):
    doors.run("%%remote\nimage = ipywidgets.Image(value=b'\\x00\\xffdata')\ndisplay(image)")
    outcome = doors.run("%%remote\nimage.value = b'other\\x00'")
    (message,) = [m for m in outcome.messages if m["msg_type"] == "comm_msg"]
    assert [bytes(b) for b in message["buffers"]] == [b"other\x00"]


def test_output_widget_takes_remote_output(doors):
    doors.run("%%remote\nout = ipywidgets.Output()\ndisplay(out)")
    outcome = doors.run("%%remote\nwith out:\n    print('inside')")
    claims = [c["data"]["state"]["msg_id"] for c in outcome.of("comm_msg") if "msg_id" in c["data"].get("state", {})]
    # The widget claims the frontend's own request, so the frontend gives it the text.
    assert claims[0] == outcome.messages[0]["parent_header"]["msg_id"]
    assert claims[-1] == ""
    assert outcome.text() == "inside\n"


def test_closing_in_the_frontend_closes_on_the_worker(doors):
    made = doors.run("%%remote\nshort = ipywidgets.IntSlider()\ndisplay(short)")
    comm_id = made.data("display_data", "application/vnd.jupyter.widget-view+json")["model_id"]
    doors.ask("comm_close", {"comm_id": comm_id, "data": {}})
    message_id, _ = doors.ask("comm_info_request", {"target_name": "jupyter.widget"})
    assert comm_id not in doors.reply_to(message_id)["comms"]
    assert doors.run("%%remote\nshort.comm is None or short.comm._closed").data() == "True"


def test_closing_on_the_worker_closes_in_the_frontend(doors):
    doors.run("%%remote\ngone = ipywidgets.IntSlider()\ndisplay(gone)")
    outcome = doors.run("%%remote\ngone.close()")
    (closed,) = [c["comm_id"] for c in outcome.of("comm_close")]
    message_id, _ = doors.ask("comm_info_request", {"target_name": "jupyter.widget"})
    assert closed not in doors.reply_to(message_id)["comms"]


def test_local_widgets_are_not_touched(doors):
    doors.run("here = ipywidgets.IntSlider()\nhere.observe(lambda change: print('here', change['new']), 'value')")
    local = doors.run("here.comm.comm_id").data().strip("'")
    _, seen = doors.ask("comm_msg", move(local, 9))
    assert "here 9\n" in [m["content"]["text"] for m in seen if m["msg_type"] == "stream"]


def test_widgets_of_a_lost_worker_are_closed(doors):
    doors.run("%%remote\nlast = ipywidgets.IntSlider()\ndisplay(last)")
    doors.run("from cellferry.errors import WorkerLost\nmade[0].fail_next = WorkerLost('The worker ended.')")
    doors.run("%%remote\n1", check=False)
    message_id, _ = doors.ask("comm_info_request", {"target_name": "jupyter.widget"})
    listed = doors.reply_to(message_id)["comms"]
    local = doors.run("import ipywidgets.widgets.widget as w; list(w._instances)").data()
    assert all(repr(comm_id) in local for comm_id in listed)
