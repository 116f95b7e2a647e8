"""The outside: engine, cloud, systemd, files of the host. The only place that imports docker, requests and dbus."""

from __future__ import annotations

import sys
import warnings


def _import_requests() -> None:
    """Import requests without the library that guesses the encoding of texts without a charset.

    Nothing that the supervisor reads needs a guess, and it is 4 MB of the memory that all processes share. requests
    works without it, with a warning.
    """
    name = "charset_normalizer"
    if "requests" in sys.modules or name in sys.modules:
        return
    sys.modules[name] = None  # type: ignore[assignment]  # makes the import fail, as the import system defines
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import requests  # noqa: F401, PLC0415  # imported for its effect
    finally:
        del sys.modules[name]


_import_requests()
