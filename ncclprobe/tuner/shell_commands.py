"""The commands of a shell script, each with the conditions it stands under."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ncclprobe.tuner.shell_words import ASSIGNMENT, Comment, HereDocument, Kind, Operator, Token, Word

OPENING = {"if": "if", "for": "loop", "while": "loop", "until": "loop", "select": "loop", "case": "case"}
BRANCH = frozenset({"then", "else", "elif", "do"})
CLOSING = frozenset({"fi", "done", "esac", "}"})
PASSED_OVER = frozenset({"!", "time", "coproc"})
DEEPEST = 32
"""Blocks within each other that are told apart; what is deeper counts as one block, so that no line takes long."""
PIPES = frozenset({"|", "|&"})
HERE = frozenset({"<<", "<<-"})
INTO_FILES = frozenset({">", ">>", ">|", "&>", "&>>"})
UNCONDITIONAL = frozenset({
    ".", ":", "cd", "conda", "date", "declare", "echo", "export", "mkdir", "ml", "module", "popd", "printf", "pushd",
    "set", "sleep", "source", "spack", "true", "ulimit", "umask", "unset",
})  # fmt: skip
"""Commands that are no condition of what follows ``&&``: where they fail, the script has failed."""
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


class Block(NamedTuple):
    """What is open around a command."""

    kind: str
    alternative: int | None
    """The branch behind ``&&`` or ``||`` that the block stands in."""
    scope: tuple[int, ...]
    """What tells it, and what it stands in, from other blocks."""


class Loop(NamedTuple):
    """The head of a ``for`` or ``case``, whose words are no command."""

    words: tuple[Word, ...]
    scope: tuple[int, ...]


class Array(NamedTuple):
    """Elements of an array, those of one line."""

    words: tuple[Word, ...]
    scope: tuple[int, ...]


class Subshell(NamedTuple):
    """A parenthesis of a subshell."""

    opens: bool


Found = Command | Loop | Array | Subshell | Comment


def commands(tokens: Sequence[Token]) -> Iterator[Found]:
    """Yield commands, heads of loops, arrays, ends of subshells and comments in order."""
    return _Assembler().run(tokens)


class _Assembler:
    """Puts words together to commands."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.stack: list[Block] = []
        self.words: list[Word] = []
        self.head = False
        """Whether the words are the head of a loop or case."""
        self.alternative: int | None = None
        """A branch of its own behind ``&&``, and another behind each ``||``, up to the line's end."""
        self.test = False
        """Whether the words are the beginning of ``[[ ... ]]``."""
        self.function = False
        self.target: Word | None = None
        self.documents: tuple[HereDocument, ...] = ()

    def run(self, tokens: Sequence[Token]) -> Iterator[Found]:
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
            elif self.test and token.text not in (";", "&", "\n"):
                continue  # an operator of [[ ... ]]
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

    def operator(self, token: Operator) -> Iterator[Found]:
        if token.text == "(":
            yield from self.parenthesis()
        elif token.text == ")":
            yield from self.closing_parenthesis()
        else:
            piped = self.documents if token.text in PIPES else ()
            condition = token.text == "&&" and _conditional(self.words)
            yield from self.flush(background=token.text == "&")
            self.documents = piped  # what cat is given, tee gets
            self.separate(token.text, condition=condition)
            if token.text in (";;", ";&", ";;&") and self.stack:
                self.branch()

    def separate(self, text: str, *, condition: bool) -> None:
        """Follow what stands between two commands, of which the first may be the second's condition."""
        if text == "||":
            self.alternative = next(self.numbers)
        elif condition:
            self.alternative = self.alternative or next(self.numbers)
        elif text not in PIPES and text != "&&":
            self.alternative = None

    def enter(self, kind: str) -> None:
        self.stack.append(Block(kind, self.alternative, self.inner(kind, self.alternative, self.stack)))
        self.alternative = None

    def inner(self, kind: str, alternative: int | None, outer: Sequence[Block]) -> tuple[int, ...]:
        """Return the scope of a new block, or of a block's next branch, within others."""
        around = outer[-1].scope if outer else ()
        if len(outer) >= DEEPEST:
            return around
        branch = () if alternative is None else (alternative,)
        return (*around, *branch) if kind == "group" else (*around, *branch, next(self.numbers))

    def leave(self) -> None:
        if self.stack:
            self.alternative = self.stack.pop().alternative

    def parenthesis(self) -> Iterator[Found]:
        if self.words and self.words[-1].start.endswith("=") and not self.head:
            self.words.pop()
            yield from self.flush()
            self.enter("array")
        elif len(self.words) == 1 and (self.function or not self.head):
            self.function, self.head = True, False  # name(): what follows runs when it is called
            self.words = []
            self.enter("parameters")
        else:
            yield from self.flush()
            self.enter("subshell")
            yield Subshell(opens=True)

    def closing_parenthesis(self) -> Iterator[Found]:
        kind = self.stack[-1].kind if self.stack else ""
        if kind == "case":
            self.words, self.head = [], False
            self.branch()
        else:
            self.function &= kind == "parameters" and not self.words
            yield from self.flush()
            if kind in ("array", "parameters", "subshell"):
                self.leave()
            if kind == "subshell":
                yield Subshell(opens=False)

    def in_array(self) -> bool:
        return bool(self.stack) and self.stack[-1].kind == "array"

    def word(self, word: Word) -> None:
        if self.function and self.head and word.literal == "{":
            self.words, self.head = [], False
        if self.words or self.head or self.in_array() or not self.keyword(word.literal if not word.quoted else None):
            self.words.append(word)
            self.test = word.literal != "]]" if self.test else len(self.words) == 1 and word.literal == "[["

    def keyword(self, text: str | None) -> bool:
        """Return whether a first word is one of the shell's own, and follow it."""
        if text in OPENING:
            self.enter(OPENING[text])
            self.head = text in ("for", "select", "case")
        elif text in BRANCH:
            self.branch()
        elif text in CLOSING:
            self.leave()
        elif text == "{":
            self.enter("function" if self.function else "group")
            self.function = False
        elif text == "function":
            self.function, self.head = True, True
        else:
            return text in PASSED_OVER
        return True

    def branch(self) -> None:
        if self.stack:
            block = self.stack.pop()
            scope = self.inner(block.kind, block.alternative, self.stack)
            self.stack.append(block._replace(scope=scope))

    def scope(self) -> tuple[int, ...]:
        numbers = self.stack[-1].scope if self.stack else ()
        return numbers if self.alternative is None else (*numbers, self.alternative)

    def flush(self, *, background: bool = False) -> Iterator[Found]:
        words, self.words, self.test = tuple(self.words), [], False
        target, self.target = self.target, None
        documents, self.documents = self.documents, ()
        head, self.head = self.head, False
        if head and self.function:
            return
        if words and head:
            yield Loop(words, self.scope())
        elif words and self.in_array():
            yield Array(words, self.scope())
        elif words:
            yield Command(words, self.scope(), documents, background, target)


def _conditional(words: Sequence[Word]) -> bool:
    """Return whether a command may be meant as the condition of what follows it."""
    if not words or words[0].literal in UNCONDITIONAL:
        return not words
    plain = (
        ASSIGNMENT.match(word.start) and all(piece.kind is not Kind.OPAQUE for piece in word.pieces) for word in words
    )
    return not all(plain)
