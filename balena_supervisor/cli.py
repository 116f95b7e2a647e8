"""The commands for people: what the supervisor does and why, from the local API of the one that runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from balena_supervisor.cli_why import why_lines
from balena_supervisor.errors import SupervisorError
from balena_supervisor.settings import listen_port, read_settings

Json = dict[str, Any]
_TIMEOUT_S = 15
_PIPE_WIDTH = 200
_COLOURS = {
    "Running": "green",
    "running": "green",
    "done": "green",
    "failed": "red",
    "back-off": "red",
    "hung": "red",
    "exited": "red",
}


def command_line(arguments: list[str], run_supervisor: Callable[[], int]) -> int:
    """Run one command; returns its exit code. ``run_supervisor`` is what ``run`` does."""
    try:
        result = commands.main(arguments, prog_name="balena-supervisor", standalone_mode=False, obj=run_supervisor)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except SupervisorError as error:
        click.echo(error.message, err=True)
        return 1
    return result if isinstance(result, int) else 0


class Unreachable(click.ClickException):
    """The running supervisor did not answer, or refused to."""


class Supervisor:
    """The local API of the running supervisor."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key

    def get(self, path: str) -> Json:
        """Raises ``Unreachable`` with a message for people."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            request = Request(self._url + path, headers=headers)  # noqa: S310  # the user's own URL
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                found: Json = json.loads(answer.read())
        except HTTPError as error:
            raise Unreachable(_refusal(error)) from error
        except (URLError, HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"cannot reach the supervisor at {self._url}: {reason} (does it run?)") from error
        return found


def _refusal(error: HTTPError) -> str:
    if error.code == 401:
        return "cannot ask the supervisor: a key for the whole device is needed (--key or SUPERVISOR_API_KEY)"
    try:
        message = json.loads(error.read())["message"]
    except (ValueError, KeyError, TypeError):
        message = error.reason
    return f"cannot ask the supervisor: {message} (HTTP {error.code})"


def _asks(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that asks the running supervisor."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON."),
        click.option("--key", envvar="SUPERVISOR_API_KEY", default="", help="Key of the local API."),
        click.option(
            "--url", default="", help="Address of the local API.  [default: this machine, port as configured]"
        ),
    ):
        command = option(command)
    return command


def _show(url: str, key: str, path: str, *, as_json: bool, show: Callable[[Console, Json], None]) -> None:
    if not url:
        url = f"http://127.0.0.1:{listen_port(read_settings())}"
    answer = Supervisor(url, key).get(path)
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        show(_console(), answer)


def _console() -> Console:
    """A terminal, or a pipe, which gets long lines instead of folded cells."""
    console = Console(highlight=False)
    return console if console.is_terminal or os.environ.get("COLUMNS") else Console(highlight=False, width=_PIPE_WIDTH)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """The agent that makes the containers of this device match its target state."""


@commands.command()
@click.pass_obj
def run(run_supervisor: Callable[[], int]) -> int:
    """Run the supervisor."""
    return run_supervisor()


@commands.command()
def version() -> None:
    """Print the version."""
    click.echo(read_settings().version)


@commands.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def plan(file: Path) -> None:
    """Print the steps that the target in FILE would cause, with reasons. Changes nothing."""
    from balena_supervisor.plan_command import plan as plan_lines  # noqa: PLC0415  # it imports half of everything

    for line in plan_lines(file, read_settings()):
        click.echo(line)


# --- views of the running supervisor --------------------------------------------------------------------------------


@commands.command()
@_asks
@click.option("--decisions", default=10, show_default=True, help="How many of the last decisions to show.")
def status(url: str, key: str, *, as_json: bool, decisions: int) -> None:
    """What runs, what is being done, and why."""
    _show(url, key, "/v2/state/status", as_json=as_json, show=lambda to, answer: _status(to, answer, decisions))


@commands.command()
@click.argument("service", default="")
@_asks
def why(service: str, url: str, key: str, *, as_json: bool) -> None:
    """What each app, or SERVICE, is, what it should be, and what it waits for."""
    _show(url, key, "/v2/state/why", as_json=as_json, show=lambda to, answer: _why_lines(to, answer, service))


@commands.command()
@_asks
def actors(url: str, key: str, *, as_json: bool) -> None:
    """The processes of the supervisor."""
    _show(url, key, "/debug/actors", as_json=as_json, show=_actors)


@commands.command()
@click.argument("name")
@_asks
def mailbox(name: str, url: str, key: str, *, as_json: bool) -> None:
    """The messages that the actor NAME holds and those that wait for it."""
    _show(url, key, f"/debug/actors/{quote(name, safe='')}/mailbox", as_json=as_json, show=_mailbox)


@commands.command("dead-letters")
@_asks
def dead_letters(url: str, key: str, *, as_json: bool) -> None:
    """Messages that could not be delivered or handled, and why."""
    _show(url, key, "/debug/dead-letters", as_json=as_json, show=_dead_letters)


@commands.command()
@_asks
@click.option("--after", default=0, help="Only what came after this number.")
def trace(url: str, key: str, *, as_json: bool, after: int) -> None:
    """The last messages between the actors."""
    _show(url, key, f"/debug/trace?after={after}", as_json=as_json, show=_trace)


# --- tables ---------------------------------------------------------------------------------------------------------


def _table(to: Console, title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; a column whose name ends in a space is aligned to the right, and only the last one is folded.
    Nothing without rows."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    names = list(columns)
    for number, name in enumerate(names, 1):
        justify: Literal["left", "right"] = "right" if name.endswith(" ") else "left"
        table.add_column(name.strip(), justify=justify, overflow="fold", no_wrap=number < len(names))
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    if table.row_count:
        to.print(table)
        to.print()


def _cell(value: object) -> str:
    text = "" if value is None else escape(str(value))
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/]" if colour else text


def _status(to: Console, answer: Json, decisions: int) -> None:
    release = f", release {answer['release']}" if "release" in answer else ""
    progress = answer["overallDownloadProgress"]
    download = "" if progress is None else f", downloads {progress:.0f} %"
    to.print(f"{answer['appState']} (target {answer['targetVersion']}{release}{download})\n", markup=False)
    _table(
        to,
        "Containers",
        ("service", "status", "app ", "container"),
        ((c["serviceName"], c["status"], c["appId"], c.get("containerId", "")[:12]) for c in answer["containers"]),
    )
    _table(
        to,
        "Images",
        ("service", "status", "progress ", "image"),
        ((i["serviceName"], i["status"], _percent(i["downloadProgress"]), _short(i["name"])) for i in answer["images"]),
    )
    _table(
        to,
        "Waiting",
        ("for", "again at", "reason"),
        ((w["subject"], w.get("retryAt", "")[11:19], w["reason"]) for w in answer["waiting"]),
    )
    last = answer["decisions"][-decisions:] if decisions > 0 else []
    _table(
        to,
        "Decisions",
        ("number ", "at", "outcome", "step and reason"),
        ((d["number"], d["at"][11:19], d["outcome"], _why(d)) for d in last),
    )
    if answer["lastError"]:
        to.print(f"last error: {answer['lastError']['message']}", markup=False)


def _why_lines(to: Console, answer: Json, service: str) -> None:
    try:
        lines = why_lines(answer, service)
    except KeyError:
        raise click.ClickException(f"there is no service {service}") from None
    for text in lines:
        to.print(text, markup=False, soft_wrap=True)


def _why(decision: Json) -> str:
    error = f" ({decision['error']})" if decision.get("error") else ""
    return f"{decision['step']}: {decision['reason']}{error}"


def _percent(progress: float | None) -> str:
    return "" if progress is None else f"{progress:.0f} %"


def _short(name: str) -> str:
    """An image name with the digest cut."""
    repository, separator, digest = name.partition("@sha256:")
    return f"{repository}@{digest[:12]}" if separator else name


def _actors(to: Console, answer: Json) -> None:
    rows = [
        (
            actor["name"],
            actor["state"],
            actor["pid"],
            actor["generation"],
            _duration(actor["uptime_s"]),
            f"{actor['mailbox']['depth']}/{actor['mailbox']['high_water']}",
            len(actor["in_hand"]),
            f"{actor['handled']}/{actor['failed']}",
            f"{actor['pss_bytes'] / 1e6:.1f}",
            actor["problem"] or actor["last_exit"],
        )
        for actor in answer["actors"]
    ]
    columns = (
        "name",
        "state",
        "pid ",
        "gen ",
        "up ",
        "box/most ",
        "hand ",
        "done/failed ",
        "MB ",
        "last problem or exit",
    )
    _table(to, "Actors", columns, rows)
    to.print(f"memory of all: {sum(actor['pss_bytes'] for actor in answer['actors']) / 1e6:.1f} MB", markup=False)


def _mailbox(to: Console, answer: Json) -> None:
    columns = ("id ", "state", "kind", "type", "sender", "tries ", "age ", "deadline ", "body")
    rows = (
        (
            message["id"],
            message["state"],
            message["kind"],
            message["type"],
            message["sender"],
            message["tries"],
            _duration(message["age_s"]),
            "" if message["deadline_s"] is None else _duration(message["deadline_s"]),
            json.dumps(message["body"], ensure_ascii=False)[:200],
        )
        for message in answer["messages"]
    )
    if not answer["messages"]:
        to.print(f"the mailbox of {answer['name']} is empty", markup=False)
    _table(to, f"Mailbox of {answer['name']}", columns, rows)


def _dead_letters(to: Console, answer: Json) -> None:
    columns = ("number ", "at", "kind", "type", "sender", "recipient", "code", "reason")
    rows = (tuple(letter[column.strip()] for column in columns) for letter in answer["dead_letters"])
    if not answer["dead_letters"]:
        to.print("there are no dead letters", markup=False)
    _table(to, "Dead letters", columns, rows)


def _trace(to: Console, answer: Json) -> None:
    columns = ("number ", "at", "kind", "type", "sender", "recipient", "bytes ")
    rows = (
        (e["number"], e["at"], e["kind"], e["type"], e["sender"], e["recipient"], e["size_bytes"])
        for e in answer["trace"]
    )
    if not answer["trace"]:
        to.print("no messages", markup=False)
    _table(to, "Messages", columns, rows)


def _duration(seconds: float) -> str:
    """A time in at most two units; short ones in seconds with tenths."""
    if abs(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
