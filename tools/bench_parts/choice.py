"""What ``--only`` leaves to be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Choice:
    """Names of measures, all or some. A word chooses every name that has it between underscores: ``update`` all three,
    ``update_5`` one."""

    def __init__(self, names: Iterable[str], words: Sequence[str] = ()) -> None:
        """Raises ``ValueError`` for a word that chooses nothing."""
        every = list(names)
        self._names = set(every) if not words else set[str]()
        for word in words:
            found = {name for name in every if f"_{word}_" in f"_{name}_"}
            if not found:
                raise ValueError(f"nothing is called {word}. There are: {', '.join(every)}")
            self._names |= found

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def any(self, *names: str) -> bool:
        """Whether one of them is to be measured."""
        return any(name in self._names for name in names)
