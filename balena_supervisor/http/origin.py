"""Whether a web page of another origin is behind a request.

In local mode no key protects what a POST does, and any page that somebody in the device's network opens can send one.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import falcon

from balena_supervisor.http.answer import Refused, failed

_OWN_SITES = frozenset({"same-origin", "none"})


def need_own_origin(req: falcon.Request) -> None:
    """Raises ``Refused`` (403) when a browser says that another page is behind it; programs say nothing of the kind.

    Browsers send ``Sec-Fetch-Site`` over HTTPS and to localhost only, ``Origin`` with every POST (``null`` where they
    hide it). The schemes are not compared: something before the supervisor may add TLS.
    """
    site = req.get_header("Sec-Fetch-Site")
    origin = req.get_header("Origin")
    own = site in _OWN_SITES if site is not None else origin is None or _place(origin) == _host(req)
    if not own:
        raise Refused(failed(403, "cannot do this for a web page of another origin"))


def _host(req: falcon.Request) -> str:
    return (req.get_header("Host") or "").lower()


def _place(origin: str) -> str | None:
    """Host and port of an origin as the header ``Host`` has them; None when there is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None
