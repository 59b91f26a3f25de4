"""The commands of a shell script, each with the conditions it stands under."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ncclprobe.tuner.shell_words import Comment, HereDocument, Operator, Token, Word

OPENING = {"if": "if", "for": "loop", "while": "loop", "until": "loop", "select": "loop", "case": "case"}
BRANCH = frozenset({"then", "else", "elif", "do"})
CLOSING = frozenset({"fi", "done", "esac", "}"})
PASSED_OVER = frozenset({"!", "time", "coproc"})
DEEPEST = 32
"""Blocks within each other that are told apart; what is deeper counts as one block, so that no line takes long."""
PIPES = frozenset({"|", "|&"})
HERE = frozenset({"<<", "<<-"})
INTO_FILES = frozenset({">", ">>", ">|", "&>", "&>>"})
REDIRECTIONS = frozenset({">", ">>", "<", ">&", "<&", "&>", "&>>", ">|", "<>", "<<<", "<<", "<<-"})


class Command(NamedTuple):
    """A simple command."""

    words: tuple[Word, ...]
    scope: tuple[int, ...]
    """The blocks and branches around it: a prefix of another's scope means that it comes to pass before it, always."""
    documents: tuple[HereDocument, ...] = ()
    background: bool = False
    """Whether it ends in ``&``."""
    target: Word | None = None
    """The file that its output goes into."""

    @property
    def line(self) -> int:
        """Of its first word."""
        return self.words[0].line


class Loop(NamedTuple):
    """The head of a ``for`` or ``case``, whose words are no command."""

    words: tuple[Word, ...]
    scope: tuple[int, ...]


def commands(tokens: Sequence[Token]) -> Iterator[Command | Loop | Comment]:
    """Yield commands, heads of loops and comments in order."""
    return _Assembler().run(tokens)


class _Assembler:
    """Puts words together to commands."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.stack: list[tuple[str, int]] = []
        self.words: list[Word] = []
        self.head = False
        """Whether the words are the head of a loop or case."""
        self.alternative: int | None = None
        """A branch of its own behind ``&&`` and ``||``, up to the line's end."""
        self.function = False
        self.target: Word | None = None
        self.documents: tuple[HereDocument, ...] = ()

    def run(self, tokens: Sequence[Token]) -> Iterator[Command | Loop | Comment]:
        skip = False
        documents = iter([token for token in tokens if isinstance(token, HereDocument)])
        for index, token in enumerate(tokens):
            if skip:
                skip = False
            elif isinstance(token, Comment):
                yield token
            elif isinstance(token, HereDocument):
                continue  # its command has it
            elif isinstance(token, Word):
                self.word(token)
            elif token.text in REDIRECTIONS:
                following = tokens[index + 1] if index + 1 < len(tokens) else None
                skip = isinstance(following, Word) and token.text not in HERE
                if token.text in HERE:  # their texts come in order, behind the line's end
                    self.documents += (*itertools.islice(documents, 1),)
                if isinstance(following, Word) and token.text in INTO_FILES and not self.of_errors():
                    self.target = following
            else:
                yield from self.operator(token)
        yield from self.flush()

    def of_errors(self) -> bool:
        """Return whether a redirection is of another stream than the output: ``2>``."""
        return bool(self.words) and self.words[-1].literal in ("2", "0")

    def operator(self, token: Operator) -> Iterator[Command | Loop]:
        if token.text == "(":
            yield from self.parenthesis()
        elif token.text == ")":
            yield from self.closing_parenthesis()
        else:
            piped = self.documents if token.text in PIPES else ()
            yield from self.flush(background=token.text == "&")
            self.documents = piped  # what cat is given, tee gets
            if token.text in ("&&", "||"):
                self.alternative = self.alternative or next(self.numbers)
            elif token.text not in PIPES:
                self.alternative = None
            if token.text in (";;", ";&", ";;&") and self.stack:
                self.branch()

    def parenthesis(self) -> Iterator[Command | Loop]:
        if len(self.words) == 1 and not self.head:
            self.function = True  # name(): what follows runs when it is called, or an array's elements
            self.words = []
            self.stack.append(("array", next(self.numbers)))
        else:
            yield from self.flush()
            self.stack.append(("subshell", next(self.numbers)))

    def closing_parenthesis(self) -> Iterator[Command | Loop]:
        kind = self.stack[-1][0] if self.stack else ""
        if kind == "case":
            self.words, self.head = [], False
            self.branch()
        elif kind == "array":
            self.function &= not self.words
            self.words = []
            self.stack.pop()
        else:
            yield from self.flush()
            if kind == "subshell":
                self.stack.pop()

    def word(self, word: Word) -> None:
        if self.function and self.head and word.literal == "{":
            self.words, self.head = [], False
        if self.words or self.head or not self.keyword(word.literal if not word.quoted else None):
            self.words.append(word)

    def keyword(self, text: str | None) -> bool:
        """Return whether a first word is one of the shell's own, and follow it."""
        if text in OPENING:
            self.stack.append((OPENING[text], next(self.numbers)))
            self.head = text in ("for", "select", "case")
        elif text in BRANCH:
            self.branch()
        elif text in CLOSING:
            if self.stack:
                self.stack.pop()
        elif text == "{":
            self.stack.append(("function" if self.function else "group", next(self.numbers)))
            self.function = False
        elif text == "function":
            self.function, self.head = True, True
        else:
            return text in PASSED_OVER
        return True

    def branch(self) -> None:
        if self.stack:
            self.stack[-1] = (self.stack[-1][0], next(self.numbers))

    def scope(self) -> tuple[int, ...]:
        numbers = tuple(number for kind, number in self.stack[:DEEPEST] if kind != "group")
        return numbers if self.alternative is None else (*numbers, self.alternative)

    def flush(self, *, background: bool = False) -> Iterator[Command | Loop]:
        words, self.words = tuple(self.words), []
        target, self.target = self.target, None
        documents, self.documents = self.documents, ()
        head, self.head = self.head, False
        if head and self.function:
            return
        if words and head:
            yield Loop(words, self.scope())
        elif words and not (self.stack and self.stack[-1][0] == "array"):
            yield Command(words, self.scope(), documents, background, target)
