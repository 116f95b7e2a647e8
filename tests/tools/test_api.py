"""The client of the local API that development and tests use."""

from __future__ import annotations

import socket
import threading

import pytest

from tools.dev_parts.supervisor import Api


def test_an_answer_that_is_cut_short_counts_as_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_half() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        server = threading.Thread(target=answer_half)
        server.start()
        with pytest.raises(OSError, match="no whole answer"):
            Api(listener.getsockname()[1]).get("/v2/state/status")
        server.join()
