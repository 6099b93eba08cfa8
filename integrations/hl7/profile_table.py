"""One table of a profile's file, read key by key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from integrations.errors import TextRefused
from integrations.hl7.escape import Charset, escape_text
from integrations.hl7.profile import LOCAL_SYSTEM, Code

MAX_TEXT = 199

Word = TypeVar("Word", bound=StrEnum)
Kind = TypeVar("Kind")


class ProfileTable:
    """One table of the file; what is wrong is noted and the default taken, so that all is told at once."""

    def __init__(
        self, content: Mapping[str, Any], place: str, problems: list[str], charset: Charset = Charset.UTF_8
    ) -> None:
        self._content = content
        self._place = place
        self._problems = problems
        self._asked: list[str] = []
        self.charset = charset

    def wrong(self, key: str, what: str) -> None:
        """Note what is wrong with a key."""
        problem = f"{self._place}{key}: {what}"
        if problem not in self._problems:
            self._problems.append(problem)

    def keys(self) -> tuple[str, ...]:
        """The keys that are there."""
        return tuple(self._content)

    def text(self, key: str, default: str) -> str:
        """A text that can be sent."""
        text = self._get(key, default, str, "must be a text")
        if len(text) > MAX_TEXT:
            self.wrong(key, f"must have at most {MAX_TEXT} characters")
            return default
        try:
            escape_text(text, key, self.charset)
        except TextRefused as refusal:
            self.wrong(key, str(refusal).removeprefix(f"{key}: "))
        return text

    def texts(self, key: str, default: tuple[str, ...], allowed: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts, each of them one of `allowed` if that is not empty."""
        hint = f" out of {_listed(allowed)}" if allowed else ""
        found = self._get(key, list(default), list, f"must be a list of texts{hint}")
        if not all(isinstance(text, str) and (text in allowed or not allowed) for text in found):
            self.wrong(key, f"must be a list of texts{hint}")
            return default
        return tuple(found)

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of some texts."""
        text = self._get(key, default, str, f"must be one of {_listed(allowed)}")
        if text not in allowed and text != default:
            self.wrong(key, f"must be one of {_listed(allowed)}")
            return default
        return text

    def word(self, key: str, words: type[Word], default: Word, *, required: bool = False) -> Word:
        """One word of an enumeration."""
        if required and key not in self._content:
            self.wrong(key, f"must be given, one of {_listed(tuple(words))}")
        return words(self.choice(key, tuple(words), default))

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        return self._get(key, default, bool, "must be true or false")

    def number(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number."""
        number = self._get(key, default, int, f"must be a whole number from {least} to {most}")
        if isinstance(number, bool) or not least <= number <= most:
            self.wrong(key, f"must be a whole number from {least} to {most}")
            return default
        return number

    def table(self, key: str) -> ProfileTable:
        """A table within."""
        content = self._get(key, {}, dict, "must be a table")
        return ProfileTable(content, f"[{self._name(key)}] ", self._problems, self.charset)

    def tables(self, key: str) -> list[ProfileTable] | None:
        """A list of tables; None where it is not there."""
        if key not in self._content:
            self._asked.append(key)
            return None
        found = self._get(key, [], list, "must be given as [[observation]] blocks")
        if not found or not all(isinstance(each, dict) for each in found):
            self.wrong(key, "must be given as one or more [[observation]] blocks")
            return []
        return [
            ProfileTable(each, f"[[{key}]] {number}: ", self._problems, self.charset)
            for number, each in enumerate(found, start=1)
        ]

    def code(self, key: str, default: Code | None) -> Any:
        """A code as a table ``{code, text, system}``; `default` where it is not there."""
        if key not in self._content:
            self._asked.append(key)
            return default
        table = self.table(key)
        code = table.code_here(None)
        table.refuse_unknown()
        return code

    def code_here(self, default: Code | None) -> Code:
        """The code that this table itself is; whole, or not at all."""
        if default is not None and not {"code", "text", "system"} & set(self._content):
            self._asked += ["code", "text", "system"]
            return default
        for key in ("code", "text"):
            if not isinstance(self._content.get(key), str) or not self._content[key].strip():
                self.wrong(key, "must be given; a code has code, text and system")
        return Code(self.text("code", "?"), self.text("text", "?"), self.text("system", LOCAL_SYSTEM))

    def refuse_unknown(self, known: Sequence[str] | None = None) -> None:
        """Note every key that nobody asked for."""
        names = list(dict.fromkeys(known or self._asked))
        for key in self._content:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(names)
                self.wrong(key, f"there is no such key; {hint}")

    def _name(self, key: str) -> str:
        return f"{self._place.strip(' []:')}.{key}" if self._place else key

    def _get(self, key: str, default: Kind, kind: type[Kind], what: str) -> Kind:
        self._asked.append(key)
        found = self._content.get(key, default)
        if not isinstance(found, kind):
            self.wrong(key, what)
            return default
        return found


def _listed(allowed: Sequence[str]) -> str:
    return ", ".join(f'"{each}"' for each in allowed)
