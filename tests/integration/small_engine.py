"""An engine of its own whose images are kept on a small disk, and a registry that is seen from its network and from
ours."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker

from tests.integration.own_engine import OwnEngine
from tests.runtime.toy_supervisor import wait_until
from tools.dev_parts.registry import free_port
from tools.dev_parts.terminal import which

DISK_MB = 160
_SETTINGS = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}/images"}}}}
http: {{addr: "{address}"}}
"""


class SmallEngine(OwnEngine):
    """``data`` is the small disk."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = folder / "data"
        self._filling = self.data / "filling"
        self._port = free_port()
        self._settings = folder / "second.yml"
        self._seen_from_here: subprocess.Popen[bytes] | None = None
        self._seen_from_engine: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        self.data.mkdir()
        size = f"size={DISK_MB}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.data)], check=True)
        super().open()
        folder = self.data.parent
        self._settings.write_text(_SETTINGS.format(folder=folder, address=f"127.0.0.1:{self._port}"))
        self._seen_from_engine = self._run("second", *self._serve())

    def show_registry(self) -> None:
        """From now on the supervisor can ask it, too."""
        if self._seen_from_here is None:
            self._seen_from_here = subprocess.Popen(self._serve(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(self._answers, "the registry answers")

    def hide_registry(self) -> None:
        process, self._seen_from_here = self._seen_from_here, None
        if process is not None:
            process.kill()
            process.wait(20)

    def image(self, name: str, *, size: int = 0) -> str:
        """As of any own engine, under the name by which both sides reach it."""
        return super().image(name, size=size).replace("127.0.0.1:5000", f"127.0.0.1:{self._port}")

    def fill(self, *, leave_mb: int) -> None:
        """Take away what is free but for so much."""
        self._filling.unlink(missing_ok=True)
        taken = shutil.disk_usage(self.data).free - leave_mb * 1_000_000
        with self._filling.open("wb") as file:
            while taken > 0:
                taken -= file.write(bytes(min(taken, 1_000_000)))

    def free(self) -> None:
        self._filling.unlink(missing_ok=True)

    def forget_images(self) -> None:
        client = docker.APIClient(base_url=self.url, timeout=60)
        try:
            for image in client.images(quiet=True):
                client.remove_image(image, force=True)
        finally:
            client.close()

    def close(self) -> None:
        self.hide_registry()
        super().close()
        if self._seen_from_engine is not None:
            self._seen_from_engine.kill()
            self._seen_from_engine.wait(20)
        subprocess.run(["umount", "--lazy", str(self.data)], check=False, capture_output=True)

    def _serve(self) -> list[str]:
        return [which("docker-registry") or "docker-registry", "serve", str(self._settings)]

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self._port}/v2/", timeout=2) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def small_engine() -> Iterator[SmallEngine]:
    """An engine that answers; everything of it is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="se"))
    made = SmallEngine(folder)
    try:
        made.open()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
