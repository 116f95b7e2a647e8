"""What the layout of design section 4 and the style forbid, as functions from source text to complaints."""

from __future__ import annotations

import ast
from collections.abc import Iterator

PACKAGE = "balena_supervisor"

#: what actors, adapters and http may see of the runtime
_RUNTIME_FACE = ("runtime.actor", "runtime.message", "runtime.output", "runtime.views")
_COMMON = ("messages", "steps", "model", "errors", "clock", *_RUNTIME_FACE)

#: module or package -> what it may import from this package; the most specific entry counts
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "clock": (),
    "settings": ("errors", "model"),
    "model": ("model", "errors"),
    "runtime": ("runtime", "errors", "clock"),
    "messages": ("model", "errors", "runtime.message"),
    "steps": ("model", "errors", "runtime.message"),
    "state": ("state", "messages", "steps", "model", "errors", "runtime.message", "clock.iso"),
    # rows become types with the pure functions of ``state``, which itself knows no rows
    "migrations": ("migrations", "db", "state", "model", "errors", "clock"),
    "db": ("db", "migrations", "state", *_COMMON),
    "adapters": ("adapters", *_COMMON),
    "actors": ("actors", "state", "adapters", "db", "settings", *_COMMON),
    # these put actors, runtime and the application of ``http`` together
    "actors.root": ("actors", "runtime", "settings", *_COMMON),
    "actors.start_list": ("actors", "adapters", "runtime", "settings", *_COMMON),
    "actors.http_process": ("actors", "http", "runtime", *_COMMON),
    "http": ("http", "state", "settings", *_COMMON),
    "cli_why": (),
    "cli": ("cli", "cli_why", "plan_command", "state", "settings", *_COMMON),
    "plan_command": ("actors.engine_listing", "adapters", "db", "state", "settings", *_COMMON),
    "supervise": ("",),  # puts everything together for ``run``
    "__main__": ("",),
}

#: library -> the only places that may import it
HOMES: dict[str, tuple[str, ...]] = {
    "docker": ("adapters",),
    "requests": ("adapters",),
    "urllib3": ("adapters",),
    "dbus": ("adapters",),
    "falcon": ("http",),
    "gunicorn": ("http",),
    "peewee": ("db", "migrations"),
    "playhouse": ("db", "migrations"),
    "sqlite3": ("db", "migrations"),
    "time": ("clock",),
    "rich": ("cli",),
    "click": ("cli",),
    "pickle": (),
}

#: imports from these are judged by name: it may be a module, or the one harmless function
_BY_NAME = (PACKAGE, f"{PACKAGE}.runtime", f"{PACKAGE}.clock")

#: deciding what to do has no side effects, and says nothing
_NOT_PURE = ("asyncio", "logging", "os", "random", "shutil", "socket", "subprocess", "threading", "concurrent")


def complaints(module: str, source: str) -> list[str]:
    """All that is wrong with one module of the package; ``module`` without the package's name: ``state.plan``."""
    tree = ast.parse(source)
    found = []
    for line, name in _imports(tree, module):
        found += [f"{module}:{line}: {text}" for text in _import_complaints(module, name)]
    if module != "clock":
        found += [f"{module}:{line}: only clock tells time" for line in _wall_clock_calls(tree)]
    return found


def complaints_about_test(tree: ast.AST) -> list[str]:
    """Sleeps and left-out tests in a module of the tests."""
    found = []
    for node in ast.walk(tree):
        text = _dotted(node)
        if text == "time.sleep" or (
            isinstance(node, ast.ImportFrom) and node.module == "time" and _names(node, "sleep")
        ):
            found.append(f"{_line(node)}: sleeps")
        if text.startswith(("pytest.skip", "pytest.xfail", "pytest.importorskip", "unittest.skip")) or text in {
            "pytest.mark.skip",
            "pytest.mark.skipif",
            "pytest.mark.xfail",
        }:
            found.append(f"{_line(node)}: leaves a test out ({text})")
    return found


def long_functions(tree: ast.AST, limit: int) -> list[str]:
    """Functions of more lines than the limit, first line of the signature to last of the body."""
    return [
        f"{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > limit
    ]


def _import_complaints(module: str, name: str) -> Iterator[str]:
    library = name.partition(".")[0]
    if library == PACKAGE:
        inside = name.partition(".")[2]
        if inside and not _within(inside, _allowed(module)):
            yield f"must not import {inside}"
    elif library in HOMES and not _within(module, HOMES[library]):
        yield f"must not import {library}"
    elif library in _NOT_PURE and _within(module, ("state", "model")):
        yield f"is pure and must not import {library}"


def _allowed(module: str) -> tuple[str, ...]:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        allowed = MAY_IMPORT.get(".".join(parts[:length]))
        if allowed is not None:
            return allowed
    return ("",) if module == "" else ()


def _within(name: str, places: tuple[str, ...]) -> bool:
    return any(place in {"", name} or name.startswith(place + ".") for place in places)


def _imports(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Every imported module, also those inside functions, with its line. ``from a import b`` counts as ``a.b`` where
    the name decides."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = [PACKAGE, *module.split(".")][: -node.level]
                base = ".".join([*parents, *filter(None, [base])])
            if base in _BY_NAME:
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names if alias.name[0] != "_")
            else:
                yield node.lineno, base


def _wall_clock_calls(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and _dotted(node.func).split(".", 1)[-1]
            in {
                "now",
                "utcnow",
                "today",
                "datetime.now",
                "datetime.utcnow",
                "date.today",
            }
            and _dotted(node.func).startswith(("datetime", "date", "dt."))
        ):
            yield node.lineno


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


def _names(node: ast.ImportFrom, name: str) -> bool:
    return any(alias.name == name for alias in node.names)


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)
