"""A supervisor that development and tests start."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.dev_parts.supervisor import PortTaken, Supervisor


class _OtherSupervisor(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"actors": [{"name": "nursery", "pid": 1}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _OtherSupervisor) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_another_supervisor_that_took_the_port_is_not_taken_for_the_one_that_was_started(
    tmp_path: Path, taken_port: int
) -> None:
    url = f"unix://{tmp_path}/no-engine"
    started = Supervisor(tmp_path / "s", tmp_path / "run", engine_url=url, instance="taken", port=taken_port)
    with pytest.raises(PortTaken, match=f"another supervisor answers at http://127.0.0.1:{taken_port}"):
        started.start()
    assert not started.program.running()


def test_a_port_whose_holder_never_answers_is_found_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        url = f"unix://{tmp_path}/no-engine"
        started = Supervisor(tmp_path / "s", tmp_path / "run", engine_url=url, instance="taken", port=port)
        with pytest.raises(PortTaken, match=f"another program holds port {port}"):
            started.start()
    assert not started.program.running()
