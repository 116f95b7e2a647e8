"""What a pull would bring, asked of the registry: the manifest and the configuration of an image.

It only serves to tell beforehand whether there is room, so whatever goes wrong means that it is not known.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from requests.auth import HTTPBasicAuth

from balena_supervisor.clock import Clock, SystemClock
from balena_supervisor.model.image import Platform, RemoteImage, RemoteLayer
from balena_supervisor.runtime import output

#: for one answer, and for all that is asked of one image, in seconds
ANSWER_S = 10.0
LOOKUP_S = 20.0
#: engines refuse larger ones
MOST_BYTES = 4 * 1024 * 1024
_DEBIAN_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PART_BYTES = 16 * 1024
_MOST_REDIRECTS = 5
_DOCKER_HUB = "registry-1.docker.io"
_DOCKER_HUB_NAMES = ("", "docker.io", "index.docker.io")
_INDEXES = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
_MANIFESTS = ("application/vnd.docker.distribution.manifest.v2+json", "application/vnd.oci.image.manifest.v1+json")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')

T = TypeVar("T")
#: user and password
Login = tuple[str, str]


class _NotKnown(Exception):
    """The registry has told something else than what was asked; the text says what."""


class _OtherScheme(_NotKnown):
    """What servers say that want TLS and get plain HTTP."""


class _Blob(msgspec.Struct, frozen=True):
    digest: str
    size: int = 0


class _PlatformWords(msgspec.Struct, frozen=True):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class _IndexEntry(msgspec.Struct, frozen=True):
    digest: str
    platform: _PlatformWords = _PlatformWords()


class _Manifest(msgspec.Struct, frozen=True):
    """Either an index (``manifests``) or the manifest of an image."""

    manifests: list[_IndexEntry] = []
    config: _Blob | None = None
    layers: list[_Blob] = []


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: list[str]


class _Config(msgspec.Struct, frozen=True):
    rootfs: _RootFs


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


def remote_image(
    registry: str,
    repository: str,
    reference: str,
    *,
    platform: Platform,
    login: Login | None = None,
    clock: Clock | None = None,
) -> RemoteImage | None:
    """The layers of an image for a platform; None when they are not known.

    ``registry`` is a host, perhaps with a port, ``""`` for Docker Hub; ``reference`` a tag or digest. As by an engine,
    a registry on this machine is asked with plain HTTP or with HTTPS, whoever vouches for it. HTTP comes first, since
    OpenSSL would bring two megabytes of memory along.
    """
    host = _DOCKER_HUB if registry in _DOCKER_HUB_NAMES else registry
    path = f"library/{repository}" if host == _DOCKER_HUB and "/" not in repository else repository
    local = _is_local(host)
    why = ""
    for scheme in ("http", "https") if local else ("https",):
        with _session(verified=not local) as session:
            lookup = _Lookup(session, f"{scheme}://{host}/v2/{path}", login, clock or SystemClock())
            try:
                return lookup.image(reference, platform)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                why = f"{type(error).__name__}: {error}"
            except (msgspec.DecodeError, RecursionError, _NotKnown) as error:
                why = str(error)
                if not isinstance(error, _OtherScheme):
                    break
    output.log("debug", "images", "the size of an image is not known", image=f"{host}/{path}", reason=why)
    return None


def _is_local(host: str) -> bool:
    with suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    return False


def _session(*, verified: bool) -> requests.Session:
    """Without what the environment may bring along: passwords of a ``.netrc`` are for nobody here."""
    session = requests.Session()
    session.trust_env = False
    session.max_redirects = _MOST_REDIRECTS
    session.verify = _trusted() if verified else False
    if not verified:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session


def _trusted() -> str | bool:
    """Where certificates stand. Of a folder of Debian only those are read that are needed: all would take 2.5 MB."""
    bundle = Path(os.environ.get("REQUESTS_CA_BUNDLE") or _DEBIAN_BUNDLE)
    if bundle == _DEBIAN_BUNDLE and bundle.is_file():
        return str(bundle.parent)
    return str(bundle) if bundle != _DEBIAN_BUNDLE else True


class _Lookup:
    """What is asked of one registry for one image."""

    def __init__(self, session: requests.Session, place: str, login: Login | None, clock: Clock) -> None:
        self._session = session
        self._place = place
        self._login = login
        self._clock = clock
        self._end = clock.monotonic() + LOOKUP_S
        self._authorization = ""

    def image(self, reference: str, platform: Platform) -> RemoteImage:
        manifest = self._manifest(reference)
        if manifest.manifests:
            manifest = self._manifest(_choice(manifest.manifests, platform))
        if manifest.config is None:
            raise _NotKnown("the manifest is of an unknown kind")
        diff_ids = self._get(f"blobs/{manifest.config.digest}", "", _Config).rootfs.diff_ids
        sizes = [layer.size for layer in manifest.layers]
        if len(diff_ids) != len(sizes) or any(size < 0 for size in sizes):
            raise _NotKnown("manifest and configuration do not belong together")
        layers = (RemoteLayer(diff_id=one, size_bytes=size) for one, size in zip(diff_ids, sizes, strict=True))
        return RemoteImage(layers=tuple(layers))

    def _manifest(self, reference: str) -> _Manifest:
        return self._get(f"manifests/{reference}", ", ".join(_MANIFESTS + _INDEXES), _Manifest)

    def _get(self, what: str, accept: str, kind: type[T]) -> T:
        """Ask, log in when that is wanted, and read the answer as JSON of this kind."""
        headers = {"Accept": accept} if accept else {}
        for _ in ("as it is", "logged in"):
            if self._authorization:
                headers["Authorization"] = self._authorization
            with self._ask(f"{self._place}/{what}", headers) as answer:
                if answer.status_code == 401 and not self._authorization:
                    challenge = answer.headers.get("WWW-Authenticate", "")
                else:
                    return msgspec.json.decode(self._read(answer), type=kind)
            self._log_in(challenge)
        raise _NotKnown("the registry wants another login")

    def _log_in(self, challenge: str) -> None:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self._login is not None:
            request = HTTPBasicAuth(*self._login)(requests.Request("GET", self._place).prepare())
            self._authorization = request.headers["Authorization"]
            return
        words = dict(_CHALLENGE.findall(rest))
        realm = words.pop("realm", "")
        if scheme.lower() != "bearer" or not realm:
            raise _NotKnown("the registry wants a login that is not known")
        if self._place.startswith("https:") and not realm.startswith("https:"):
            raise _NotKnown("the registry wants its password sent in plain text")
        asked = {name: words[name] for name in ("service", "scope") if name in words}
        with self._ask(realm, {}, asked, self._login) as answer:
            token = msgspec.json.decode(self._read(answer), type=_Token)
        self._authorization = f"Bearer {token.token or token.access_token}"

    def _ask(
        self, url: str, headers: dict[str, str], query: dict[str, str] | None = None, login: Login | None = None
    ) -> requests.Response:
        self._check_time()
        return self._session.get(
            url, headers=headers, params=query, auth=login, timeout=ANSWER_S, stream=True, allow_redirects=True
        )

    def _read(self, answer: requests.Response) -> bytes:
        if answer.status_code == 400:
            raise _OtherScheme("the registry answers 400")
        if answer.status_code != 200:
            raise _NotKnown(f"the registry answers {answer.status_code}")
        content = b""
        for part in answer.iter_content(_PART_BYTES):
            content += part
            if len(content) > MOST_BYTES:
                raise _NotKnown("the registry sends too much")
            self._check_time()
        return content

    def _check_time(self) -> None:
        if self._clock.monotonic() >= self._end:
            raise _NotKnown("the registry takes too long")


def _choice(entries: list[_IndexEntry], platform: Platform) -> str:
    """The digest that an engine on this platform takes: of an ``arm`` its own variant or the next lower one."""
    fitting = [
        entry
        for entry in entries
        if (entry.platform.os, entry.platform.architecture) == (platform.os, platform.architecture)
    ]
    if platform.variant:
        runs = [entry for entry in fitting if entry.platform.variant <= platform.variant]
        fitting = sorted(runs, key=lambda entry: entry.platform.variant, reverse=True)
    if not fitting:
        raise _NotKnown(f"there is nothing for {platform.os}/{platform.architecture}")
    return fitting[0].digest
