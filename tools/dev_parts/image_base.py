"""``debian:bookworm-slim`` for machines that reach no image registry: made with debootstrap from Debian's packages.

It has what this machine needs to reach its package registries (where apt and pip look, certificates), so that the
Dockerfile needs no word about it.
"""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tools.dev_parts.paths import DEV, PYTHON
from tools.dev_parts.terminal import root_prefix, say, which

NAME = "debian:bookworm-slim"
_RELEASE = "bookworm"
_STANDARD_SOURCES = """\
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
"""
#: as in the slim image of the registry: no manuals and translations, and no waiting for the disk
_DPKG = """\
force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
path-exclude /usr/share/man/*
"""
#: what debootstrap unpacks before there is a dpkg, and what only it needed
_SURPLUS: tuple[str, ...] = ("usr/share/info/*", "usr/share/locale/*", "usr/share/man/*", "usr/share/lintian/*")
_SURPLUS += ("var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", "debootstrap")
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


class BaseFailed(Exception):
    """The base image could not be made; the message says why."""


def ensure(client: docker.APIClient) -> None:
    """Have the base image on the engine. One that is there, from wherever, is not touched. Raises ``BaseFailed``."""
    try:
        client.inspect_image(NAME)  # type: ignore[no-untyped-call]  # types-docker lacks it
    except ImageNotFound:
        archive = _archive()
        if not archive.exists():
            _make(archive)
        repository, _, tag = NAME.partition(":")
        client.import_image_from_file(str(archive), repository=repository, tag=tag, changes=["CMD bash"])


def proxies() -> dict[str, str]:
    """The proxy of this machine, as the environment names it: arguments that every build knows."""
    names = [spelled for name in _PROXIES for spelled in (name, name.upper())]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _make(archive: Path) -> None:
    prefix = root_prefix()
    if which("debootstrap") is None or prefix is None:
        what = "debootstrap is not installed" if prefix is not None else "debootstrap needs root"
        raise BaseFailed(f"cannot make {NAME}: {what}. Where a registry can be reached: docker pull {NAME}")
    say(f"making {NAME} with debootstrap; it is kept in {archive}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        root = Path(folder, "root")
        for path, text in _files().items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        log = archive.with_suffix(".log")
        with log.open("w") as output:
            script = _script(root, archive.with_suffix(".part"))
            done = subprocess.run([*prefix, "sh", "-ec", script], check=False, stdout=output, stderr=output)
        if done.returncode:
            raise BaseFailed(f"cannot make {NAME}; end of {log}:\n" + "\n".join(log.read_text().splitlines()[-15:]))
    archive.with_suffix(".part").replace(archive)


def _script(root: Path, archive: Path) -> str:
    """The steps that need root. Devices are left out: each container gets its own."""
    place = shlex.quote(str(root))
    return f"""
        export PATH="$PATH:/usr/sbin:/sbin"
        trap 'rm -rf {place}' EXIT
        chown -R 0:0 {place}
        chmod -R u=rwX,go=rX {place}
        debootstrap --variant=minbase {_RELEASE} {place} {shlex.quote(_mirror())}
        cd {place}
        rm -rf {" ".join(_SURPLUS)}
        find usr/share/doc ! -type d ! -name copyright -delete
        mv etc/machine.list etc/apt/sources.list
        : > etc/machine-id
        tar --create --numeric-owner --one-file-system --exclude=./dev/* --file={shlex.quote(str(archive))} .
        chown {os.getuid()}:{os.getgid()} {shlex.quote(str(archive))}
    """


def _files() -> dict[str, str]:
    """Path below the root -> content, of what stands there before the first package comes."""
    files = {"etc/dpkg/dpkg.cfg.d/slim": _DPKG, "etc/machine.list": _sources() or _STANDARD_SOURCES}
    files["etc/apt/apt.conf.d/99machine"] = "".join(_apt_settings())
    if pip := pip_settings(_output([str(PYTHON), "-m", "pip", "config", "list"])):
        files["etc/pip.conf"] = pip
    for certificate in sorted(_CERTIFICATES.glob("*.crt")):
        files[str(certificate.relative_to("/"))] = certificate.read_text()
    return files


def _sources() -> str:
    """Where apt of this machine finds packages of the release; nothing on a machine of another one."""
    wanted = ["Created-By: Packages", "Origin: Debian"]
    found = _output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", *wanted])
    lines = [line for line in found.splitlines() if len(line.split()) == 3]
    ours = [line for line in lines if line.split()[1].partition("-")[0] == _RELEASE]
    return "".join(f"deb {line}\n" for line in ours)


def _mirror() -> str:
    """Where the release itself is, without its updates."""
    entries = [line.split() for line in (_sources() or _STANDARD_SOURCES).splitlines()]
    return next((entry[1] for entry in entries if entry[2] == _RELEASE), "http://deb.debian.org/debian")


def _apt_settings() -> Iterator[str]:
    """How apt of this machine reaches a registry, and what it takes for too old."""
    for line in _output(["apt-config", "dump"]).splitlines(keepends=True):
        if line.startswith(("Acquire::http", "Acquire::https", "Acquire::Check-")):
            yield line


def pip_settings(listed: str) -> str:
    """A ``pip.conf`` with the registries of ``pip config list``, but not with those in folders of this machine."""
    values: dict[str, list[str]] = {}
    for line in listed.splitlines():
        key, equals, value = line.partition("=")
        option = key.rpartition(".")[2]
        if equals and option in _PIP_OPTIONS:
            values[option] = [part for part in value.strip("'\"").split() if not part.startswith(("file:", "/"))]
    lines = [f"{option} = {' '.join(parts)}\n" for option, parts in values.items() if parts]
    return "".join(["[global]\n", *lines]) if lines else ""


def _archive() -> Path:
    return DEV / "image" / f"{_RELEASE}-{_output(['dpkg', '--print-architecture']).strip() or os.uname().machine}.tar"


def _output(command: list[str]) -> str:
    """What a program of the machine prints; nothing when it is not there or fails."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
