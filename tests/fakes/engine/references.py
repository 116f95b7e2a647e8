"""Image references as the engine reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """``repository`` is the familiar one (``docker.io/library/x`` is ``x``). A digest wins over a tag."""

    repository: str
    tag: str
    digest: str

    @property
    def text(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"

    @property
    def remote_path(self) -> str:
        """The repository without its registry, as the first line of a pull shows it."""
        first, slash, rest = self.repository.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            return rest
        return self.repository if slash else f"library/{self.repository}"

    @property
    def registry(self) -> str:
        """Empty for the default registry."""
        return (
            "" if self.remote_path in {self.repository, f"library/{self.repository}"} else self.repository.split("/")[0]
        )


def parse(name: str) -> Reference:
    """``[registry/]repo[:tag][@digest]``; without both, the tag is ``latest``."""
    rest, _, digest = name.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    for prefix in ("index.docker.io/", "docker.io/"):
        head = head.removeprefix(prefix)
    head = head.removeprefix("library/") if head.count("/") == 1 else head
    return Reference(head, "" if digest else (tag or "latest"), digest)


def pattern_matches(pattern: str, reference: Reference) -> bool:
    """A filter ``reference=…``: a glob, in which ``*`` does not pass a slash, on the full or the bare name."""
    glob = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return any(re.fullmatch(glob, text) for text in (reference.text, reference.repository))
