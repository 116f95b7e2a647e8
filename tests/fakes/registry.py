"""A small image registry on 127.0.0.1 that says what a test wants, with or without a login."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


@dataclass
class FakeRegistry:
    """``auth`` is ``""``, ``basic`` or ``bearer``. ``redirect`` sends those who ask for a blob to another place."""

    auth: str = ""
    login: tuple[str, str] | None = None
    redirect: str = ""
    address: str = ""
    #: path below ``/v2/`` -> status and body
    content: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    #: what was asked: path, and the value of the header Authorization
    asked: list[tuple[str, str]] = field(default_factory=list)

    def add(self, repository: str, reference: str, layers: dict[str, int], **more: Any) -> str:
        """An image with these layers (content digest -> compressed size). Returns the digest of its manifest."""
        config = self.add_blob(repository, json.dumps({"rootfs": {"type": "layers", "diff_ids": list(layers)}}))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"digest": config, "size": 1},
            "layers": [{"digest": f"sha256:packed-{name}", "size": size} for name, size in layers.items()],
        }
        return self.add_manifest(repository, reference, {**manifest, **more})

    def add_manifest(self, repository: str, reference: str, manifest: Any) -> str:
        body = json.dumps(manifest).encode()
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        for name in (reference, digest):
            self.content[f"{repository}/manifests/{name}"] = (200, body)
        return digest

    def add_blob(self, repository: str, text: str) -> str:
        digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
        self.content[f"{repository}/blobs/{digest}"] = (200, text.encode())
        return digest

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((path, authorization))
        place = urlsplit(path)
        basic = "" if self.login is None else _basic(*self.login)
        if place.path == "/token":
            if authorization != basic:
                return 401, {}, b""
            scope = parse_qs(place.query)["scope"][0]
            return 200, {}, json.dumps({"token": f"token for {scope}"}).encode()
        what = place.path.removeprefix("/v2/")
        repository = what.partition("/manifests/")[0].partition("/blobs/")[0]
        scope = f"repository:{repository}:pull"
        wanted = {"": "", "basic": basic, "bearer": f"Bearer token for {scope}"}[self.auth]
        if authorization != wanted:
            realm = f'realm="http://{self.address}/token",service="fake",scope="{scope}"'
            return 401, {"WWW-Authenticate": f"Bearer {realm}" if self.auth == "bearer" else 'Basic realm="r"'}, b""
        if self.redirect and "/blobs/" in what:
            return 307, {"Location": f"{self.redirect}/v2/{what}"}, b""
        status, body = self.content.get(what, (404, b'{"errors": []}'))
        return status, {}, body


@contextmanager
def fake_registry(**settings: Any) -> Iterator[FakeRegistry]:
    registry = FakeRegistry(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing: a client that tries TLS first is no news."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
