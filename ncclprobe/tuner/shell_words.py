"""Shell text as words and operators; nothing is ever run or expanded.

Source: POSIX.1-2024, Shell Command Language, 2.2 Quoting, 2.3 Token Recognition and 2.7.4 Here-Document.
"""

from __future__ import annotations

import enum
import itertools
import re
from typing import NamedTuple

OPERATORS = (
    "<<<", "<<-", "&>>", ";;&", "<<", ">>", "&&", "||", ";;", ";&", "|&", ">&", "<&", "&>", ">|", "<>", ";", "&", "|",
    "(", ")", "<", ">", "\n",
)  # fmt: skip
"""The longest first."""
_OPERATOR = re.compile("|".join(map(re.escape, OPERATORS)))
_UNQUOTED = re.compile(r"""[^\\'"$` \t\r\n;&|()<>]*""")
_QUOTED = re.compile(r"""[^\\"$`]*""")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_BLANKS = re.compile(r"[ \t]*")
NAMES_IN = re.compile(r"\$\{?[#!]?([A-Za-z_][A-Za-z0-9_]*)")
_CLOSING = {"(": ")", "{": "}"}

LONGEST_ARITHMETIC = 400
"""Letters of ``((...))``; what is longer is read as subshells, so that no line takes long."""


class Kind(enum.Enum):
    """What a piece of a word is."""

    LITERAL = enum.auto()
    VARIABLE = enum.auto()
    """``$NAME`` or ``${NAME}``; the text is the name."""
    OPAQUE = enum.auto()
    """What only a shell can tell: a command's output, arithmetic, ``${NAME:-else}``."""


class Piece(NamedTuple):
    """A part of a word."""

    kind: Kind
    text: str


class Word(NamedTuple):
    """A word with its quotes removed."""

    pieces: tuple[Piece, ...]
    line: int
    quoted: bool = False
    """Whether any part was quoted, so that it can be no keyword."""

    @property
    def literal(self) -> str | None:
        """The text, None where a shell would have to expand something."""
        if any(piece.kind is not Kind.LITERAL for piece in self.pieces):
            return None
        return "".join(piece.text for piece in self.pieces)

    @property
    def start(self) -> str:
        """The literal text before the first expansion."""
        return self.pieces[0].text if self.pieces and self.pieces[0].kind is Kind.LITERAL else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that it uses."""
        inside = [NAMES_IN.findall(piece.text) for piece in self.pieces if piece.kind is Kind.OPAQUE]
        plain = [piece.text for piece in self.pieces if piece.kind is Kind.VARIABLE]
        return (*plain, *(name for names in inside for name in names))

    @property
    def shown(self) -> str:
        """The text with expansions as they stand, empty where it is one expansion and nothing else."""
        if not any(piece.text for piece in self.pieces if piece.kind is Kind.LITERAL):
            return ""
        return "".join(f"${piece.text}" if piece.kind is Kind.VARIABLE else piece.text for piece in self.pieces)

    @property
    def script(self) -> str:
        """The text as another shell gets it, with the expansions of this one as they stand."""
        return "".join(f"${{{piece.text}}}" if piece.kind is Kind.VARIABLE else piece.text for piece in self.pieces)

    def after(self, count: int) -> Word:
        """Return the word without its first letters, which are literal."""
        first = Piece(Kind.LITERAL, self.pieces[0].text[count:])
        return self._replace(pieces=(first, *self.pieces[1:]))


class Operator(NamedTuple):
    """A separator, a redirection, a parenthesis or a line's end."""

    text: str
    line: int


class HereDocument(NamedTuple):
    """The text of a ``<<`` redirection."""

    text: str
    line: int
    """Of its first line."""
    expanded: bool
    """Whether the shell expands variables in it (its delimiter is not quoted)."""


class Comment(NamedTuple):
    """From ``#`` to the line's end."""

    text: str
    line: int


Token = Word | Operator | HereDocument | Comment


def tokens(text: str, line: int = 1) -> list[Token]:
    """Return what a text consists of, in order; whatever is left open ends with the text.

    Args:
        text: Of a script.
        line: The number of its first line.
    """
    return _Reader(text, line).read()


class _Reader:
    """One pass over a text."""

    def __init__(self, text: str, line: int) -> None:
        self.text, self.at, self.line = text, 0, line
        self.found: list[Token] = []
        self.awaited: list[tuple[str, bool, bool]] = []
        """Delimiters of here-documents whose text begins after this line: with tabs to strip, expanded."""
        self.unclosed = 0
        """Up to where no arithmetic is looked for: an earlier bracket found no end before it."""

    def read(self) -> list[Token]:
        while self.at < len(self.text):
            self.step()
        return self.found

    def step(self) -> None:
        letter = self.text[self.at]
        if letter in " \t\r":
            self.at += 1
        elif self.text.startswith("\\\n", self.at):
            self.at, self.line = self.at + 2, self.line + 1
        elif letter == "#":
            end = self.end_of_line()
            self.found.append(Comment(self.text[self.at : end], self.line))
            self.at = end
        elif self.text.startswith("((", self.at) and (end := self.end_of_arithmetic()):
            line = self.line  # a command that starts nothing, and uses variables
            self.found += [Word((Piece(Kind.LITERAL, ":"),), line, False), Word((self.opaque(end),), line, False)]
            self.found.append(Operator(";", line))  # for ((...)) do
        elif operator := _OPERATOR.match(self.text, self.at):
            self.operator(operator[0])
        else:
            self.found.append(self.word())

    def end_of_line(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end

    def operator(self, text: str) -> None:
        self.found.append(Operator(text, self.line))
        self.at += len(text)
        if text == "\n":
            self.line += 1
            self.here_documents()
        elif text in ("<<", "<<-"):
            self.at = _BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]
            word = self.word()
            self.awaited.append((word.literal or "", text == "<<-", not word.quoted))

    def here_documents(self) -> None:
        for delimiter, strip, expanded in self.awaited:
            first, lines = self.line, []
            while self.at < len(self.text):
                end = self.end_of_line()
                line = self.text[self.at : end]
                self.at, self.line = end + 1, self.line + 1
                line = line.lstrip("\t") if strip else line
                if line == delimiter:
                    break
                lines.append(line)
            self.found.append(HereDocument("\n".join(lines), first, expanded))
        self.awaited = []

    def word(self) -> Word:
        pieces: list[Piece] = []
        line, quoted = self.line, False
        while self.at < len(self.text) and not self.ends_word():
            quoted |= self.text[self.at] in "'\"\\"
            self.piece(pieces)
        return Word(_joined(pieces), line, quoted)

    def ends_word(self) -> bool:
        return self.text[self.at] in " \t\r\n;&|()<>"

    def piece(self, pieces: list[Piece]) -> None:
        letter = self.text[self.at]
        if letter == "\\":
            escaped = self.text[self.at + 1 : self.at + 2]
            self.literal(pieces, "" if escaped == "\n" else escaped, 2)
        elif letter == "'":
            self.single(pieces, 1)
        elif self.text.startswith("$'", self.at):
            self.single(pieces, 2)
        elif letter == '"':
            self.double(pieces)
        elif letter in "$`":
            pieces.append(self.expansion())
        else:
            self.plain(pieces, _UNQUOTED)

    def plain(self, pieces: list[Piece], letters: re.Pattern[str]) -> None:
        """Take the letter here, and those after it that mean nothing else."""
        end = letters.match(self.text, self.at + 1).end()  # type: ignore[union-attr]
        self.literal(pieces, self.text[self.at : end], end - self.at)

    def literal(self, pieces: list[Piece], text: str, length: int) -> None:
        self.line += self.text.count("\n", self.at, self.at + length)
        self.at += length
        pieces.append(Piece(Kind.LITERAL, text))

    def single(self, pieces: list[Piece], opening: int) -> None:
        end = self.text.find("'", self.at + opening)
        end = len(self.text) if end < 0 else end
        self.literal(pieces, self.text[self.at + opening : end], end + 1 - self.at)

    def double(self, pieces: list[Piece]) -> None:
        self.at += 1
        pieces.append(Piece(Kind.LITERAL, ""))
        while self.at < len(self.text) and self.text[self.at] != '"':
            letter = self.text[self.at]
            escaped = self.text[self.at + 1 : self.at + 2]
            if letter == "\\" and escaped and escaped in '$`"\\\n':
                self.literal(pieces, "" if escaped == "\n" else escaped, 2)
            elif letter in "$`":
                pieces.append(self.expansion())
            else:
                self.plain(pieces, _QUOTED)
        self.at += 1

    def expansion(self) -> Piece:
        """Return what begins with ``$`` or a backquote."""
        name = NAME.match(self.text, self.at + 1)
        if name and self.text[self.at] == "$":
            self.at = name.end()
            return Piece(Kind.VARIABLE, name[0])
        opening = self.text[self.at + 1 : self.at + 2]
        if self.text[self.at] == "$" and opening in _CLOSING:
            return self.enclosed(opening)
        if self.text[self.at] == "`":
            end = self.text.find("`", self.at + 1)
            return self.opaque(len(self.text) if end < 0 else end + 1)
        if opening and opening in "?#@*!$-0123456789":
            return self.opaque(self.at + 2)
        self.at += 1
        return Piece(Kind.LITERAL, "$")

    def end_of_arithmetic(self) -> int:
        """Return where ``((...))`` has ended, 0 where this is none but two subshells, or a long one."""
        if self.at < self.unclosed:
            return 0
        most = self.at + LONGEST_ARITHMETIC
        end = self.end_of_enclosed("(", self.at + 1, most)
        self.unclosed = most if end == most else 0
        return end + 1 if self.text.startswith(")", end) else 0

    def enclosed(self, opening: str) -> Piece:
        end = self.end_of_enclosed(opening, self.at + 1, len(self.text))
        inner = self.text[self.at + 2 : end - 1]
        piece = self.opaque(end)
        return Piece(Kind.VARIABLE, inner) if opening == "{" and NAME.fullmatch(inner) else piece

    def end_of_enclosed(self, opening: str, begin: int, most: int) -> int:
        """Return where what an opening bracket encloses has ended, at the latest a given place."""
        depth, end, quote = 0, begin, ""
        while end < min(most, len(self.text)):
            letter = self.text[end]
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "'\"" and opening == "(":
                quote = letter
            else:
                depth += (letter == opening) - (letter == _CLOSING[opening])
            end += 1
            if depth == 0:
                break
        return end

    def opaque(self, end: int) -> Piece:
        text = self.text[self.at : end]
        self.line += text.count("\n")
        self.at = end
        return Piece(Kind.OPAQUE, text)


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Return the pieces with neighbouring literals as one."""
    joined: list[Piece] = []
    for literal, group in itertools.groupby(pieces, lambda piece: piece.kind is Kind.LITERAL):
        run = list(group)
        joined += [Piece(Kind.LITERAL, "".join(piece.text for piece in run))] if literal else run
    return tuple(joined)
