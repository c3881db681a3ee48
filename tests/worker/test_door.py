"""Where a worker listens, and with which key."""

from __future__ import annotations

import socket
from pathlib import Path

from cellferry.parcels.identity import make_key_pair
from cellferry.worker.door import open_listener
from cellferry.worker.settings import WorkerSettings


def test_tls_listens_on_loopback_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    listener, ready = open_listener(tmp_path, WorkerSettings("w", transport="tls"))
    with listener:
        assert ready["host"] == "127.0.0.1" and ready["port"] == listener.getsockname()[1]


def test_a_told_port_and_the_key_that_is_there(tmp_path: Path) -> None:
    pair = make_key_pair(tmp_path, "worker")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    listener, ready = open_listener(tmp_path, WorkerSettings("w", transport="tls", listen_host="0.0.0.0", listen_port=port))
    with listener:
        assert listener.getsockname() == ("0.0.0.0", port) and ready["cert_pem"] == pair.cert_pem
