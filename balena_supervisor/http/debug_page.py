"""``GET /debug``: the debug views as one page for people.

Its parts stand in ``page/`` and are put together at each request: where nobody looks, nothing of it is in memory.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import falcon

from balena_supervisor.http.answer import HTML, Answer, tag_of

_PARTS = Path(__file__).parent / "page"
#: in this order: each uses what stands before it
_SCRIPTS = ("dom.js", "format.js", "ask.js", "processes.js", "flow.js", "lists.js", "main.js")


class DebugPage:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        req.context.caller.need_global()
        page().send(resp)


def page() -> Answer:
    """The page, whose policy lets nothing run or load but its own style and script, and questions to this device."""
    style = "\n" + _read("style.css")
    script = '\n"use strict";\n' + "\n".join(_read(name) for name in _SCRIPTS)
    whole = _read("page.html").replace("<style></style>", f"<style>{style}</style>")
    body = whole.replace("<script></script>", f"<script>{script}</script>").encode()
    policy = (
        "default-src 'none'",
        f"script-src {_source(script)}",
        f"style-src {_source(style)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # refuses every way in which a text could become HTML or code
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",  # the address may hold a key
        "Cache-Control": "no-store",
    }
    return Answer(200, body, HTML, tag_of(body), headers)


def _read(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """An inline part as the policy names it, by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
