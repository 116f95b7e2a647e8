"""Commands and entry points: a list, or a text that is split like a shell splits it (spec target-state 10.5)."""

from __future__ import annotations

import re
from typing import Any

from balena_supervisor.state.compose_notes import Notes, texts

# The longest operator first. They are words of their own; nothing gives them a meaning.
_OPERATOR = re.compile(r"\|\||&&|;;|\|&|<\(|<<<|>>|>&|<&|[&;()|<>]")
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
# Between double quotes a backslash keeps its meaning only before these.
_ESCAPED = re.compile(r'\\(["\\$`])')
_BLANKS = " \t\r\n"


def command(path: str, value: Any, notes: Notes) -> tuple[str, ...]:
    """The words of a command or entry point."""
    return split(value) if isinstance(value, str) else texts(path, value, notes)


def split(line: str) -> tuple[str, ...]:
    """Split a line into words.

    Quotes group, a backslash escapes, operators stand alone, ``#`` at the start of a word begins a comment. Nothing
    is expanded: ``$A`` and ``*`` stay as they are, also inside quotes. A quote that is not closed is a plain character.
    """
    words: list[str] = []
    in_word = False
    position = 0
    while position < len(line):
        character = line[position]
        if character in _BLANKS:
            in_word = False
            position += 1
        elif character == "#" and not in_word:
            newline = line.find("\n", position)
            position = len(line) if newline < 0 else newline
        elif operator := _OPERATOR.match(line, position):
            words.append(operator[0])
            in_word = False
            position = operator.end()
        else:
            piece, position = _piece(line, position)
            words[len(words) - in_word :] = [words[-1] + piece if in_word else piece]
            in_word = True
    return tuple(words)


def _piece(line: str, position: int) -> tuple[str, int]:
    """One quoted text, escaped character, ``${...}`` or plain character, and where it ends."""
    character = line[position]
    if character == "'" and (end := line.find("'", position + 1)) > 0:
        return line[position + 1 : end], end + 1
    if character == '"' and (match := _DOUBLE_QUOTED.match(line, position)):
        return _ESCAPED.sub(r"\1", match[1]), match.end()
    if character == "\\":
        return line[position + 1 : position + 2], position + 2
    if line.startswith("${", position) and (end := line.find("}", position)) > 0:
        return line[position : end + 1], end + 1
    return character, position + 1
