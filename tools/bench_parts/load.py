"""Requests in a second, counted by wrk over lasting connections."""

from __future__ import annotations

import re
import subprocess

from tools.dev_parts.terminal import which

#: what is asked for, by the name of its measure
PATHS = {
    "ping": "/ping",
    "healthy": "/v1/healthy",
    "status": "/v2/state/status",
    "target": "/v2/local/target-state",
}
CONNECTIONS = (1, 16)
DURATION_S = 5
#: a request that takes longer is an error
_REQUEST_LIMIT_S = 5


class LoadFailed(Exception):
    """wrk cannot be run, or not every request was answered well: then a rate says nothing."""


def rate_name(name: str, connections: int) -> str:
    """The name of the measure of one of ``PATHS``."""
    return f"rps_{name}_{connections}"


def requests_per_second(url: str, connections: int) -> float:
    """Ask for ``url`` for five seconds. Raises ``LoadFailed``."""
    program = which("wrk")
    if program is None:
        raise LoadFailed("wrk is not installed (Debian package wrk)")
    threads = min(connections, 2)
    command = [program, f"-t{threads}", f"-c{connections}", f"-d{DURATION_S}s", f"--timeout={_REQUEST_LIMIT_S}s", url]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DURATION_S + 30)
    if done.returncode:
        raise LoadFailed(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    try:
        return parse(done.stdout)
    except LoadFailed as error:
        raise LoadFailed(f"{url} with {connections} connections: {error}") from None


def parse(output: str) -> float:
    """The rate that wrk printed. Raises ``LoadFailed`` when it is not all answers with a status under 400."""
    errors = re.search(r"^\s*Socket errors: (.*)$", output, re.MULTILINE)
    if errors is not None:
        raise LoadFailed(f"socket errors: {errors[1]}")
    refused = re.search(r"^\s*Non-2xx or 3xx responses: (\d+)$", output, re.MULTILINE)
    if refused is not None:
        raise LoadFailed(f"{refused[1]} answers with an error")
    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", output, re.MULTILINE)
    if rate is None or float(rate[1]) == 0:
        raise LoadFailed("nothing was answered")
    return float(rate[1])
