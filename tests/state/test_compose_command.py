"""Commands given as one line."""

from __future__ import annotations

import pytest

from balena_supervisor.state.compose_command import split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ()),
        ("  \t\n ", ()),
        ("a  b", ("a", "b")),
        ("echo $A", ("echo", "$A")),
        ("echo ${A B}c", ("echo", "${A B}c")),
        ("echo ${A", ("echo", "${A")),
        ("a && b", ("a", "&&", "b")),
        ("a||b;c", ("a", "||", "b", ";", "c")),
        ("a > b 2>&1", ("a", ">", "b", "2", ">&", "1")),
        ("a|b&", ("a", "|", "b", "&")),
        ("(a)", ("(", "a", ")")),
        ("a >> b < c", ("a", ">>", "b", "<", "c")),
        ("ls *.txt", ("ls", "*.txt")),
        ("sh -c 'a $x \"b\"'", ("sh", "-c", 'a $x "b"')),
        ('sh -c "a \\"b\\" \\$c \\n"', ("sh", "-c", 'a "b" $c \\n')),
        ("a\\ b \\'", ("a b", "'")),
        ("a'b'\"c\"d", ("abcd",)),
        ("a '' \"\"", ("a", "", "")),
        ("a # b c", ("a",)),
        ("a # b\nc", ("a", "c")),
        ("a#b '#'", ("a#b", "#")),
        ("echo it's", ("echo", "it's")),
        ('say "so', ("say", '"so')),
        ("end\\", ("end",)),
    ],
)
def test_a_line_is_split_like_a_shell_does_without_expanding_anything(line: str, words: tuple[str, ...]) -> None:
    assert split(line) == words
