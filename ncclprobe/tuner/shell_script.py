"""What a shell script sets and starts; the script is read, never run."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from ncclprobe.tuner.conf_script import conf_script
from ncclprobe.tuner.launch_words import kind_of, launched
from ncclprobe.tuner.script import ELSEWHERE, Dialect, How, Launch, LaunchKind, Script, Setting
from ncclprobe.tuner.shell_commands import Array, Command, Loop, Subshell, commands
from ncclprobe.tuner.shell_exports import (
    EXPORTED,
    SHELL_EXPORTS,
    allexport,
    hides_names,
    may_export,
    stops_exporting,
    unset_names,
    without,
)
from ncclprobe.tuner.shell_lists import BEFORE_SETTING, items, rest_of_value, settings_in
from ncclprobe.tuner.shell_words import ASSIGNMENT, NAME, NAMES_IN, Comment, Kind, Word, tokens
from ncclprobe.tuner.shell_written import SPEAKERS, is_conf, is_script, said

DIRECTIVE = re.compile(r"#(SBATCH|PBS|BSUB|SGE|\$)\s+(.*)")
EXPORTING = frozenset({"export", "declare", "typeset", "setenv", "ENV", "readonly", "local"})
NO_NAME = re.compile(r"[^-A-Za-z_]")
"""How what export takes for no name and no option begins."""
WRAPPERS = frozenset({
    "exec", "nohup", "command", "builtin", "sudo", "nice", "ionice", "stdbuf", "xargs", "eval", "env", "timeout",
})  # fmt: skip
MOST_WRAPPERS = 16
"""Of one command that are looked behind."""
DURATION = re.compile(r"\d+[smh]?")
"""Of ``timeout``."""
NEUTRAL = frozenset({
    "cd", "mkdir", "module", "ml", "set", "ulimit", "true", ":", "hostname", "date", "sleep", "test",
    "[", "[[", "pwd", "rm", "cp", "ls", "read", "exit", "return", "shift", "trap", "nvidia-smi", "scontrol", "head",
    "umask", "shopt", "conda", "which", "sort", "uname", "break", "continue", "wait", "FROM", "WORKDIR", "COPY",
    "ARG", "LABEL", "USER",
})  # fmt: skip
"""Commands that no setting of NCCL's concerns."""
SEARCHING = frozenset({"grep", "egrep", "fgrep", "zgrep", "rg", "sed", "perl"})
"""Programs whose -e takes a pattern."""


def shell_script(text: str, source: str, line: int = 1) -> Script:
    """Return what a shell script sets and starts.

    Args:
        text: Of the script.
        source: What findings call it.
        line: The number of its first line.
    """
    reader = _Reader(source)
    reader.allexport = bool(SHELL_EXPORTS.match(text))
    reader.read(text, line, ())
    return Script(
        source=source,
        dialect=Dialect.SHELL,
        settings=tuple(one for one in reader.settings if one is not None),
        launches=tuple(reader.launches),
        used=frozenset(reader.used),
        directives=tuple(reader.directives),
        allexport=reader.allexport or reader.untold,
        unset=frozenset(reader.unsettings),
        exported=frozenset(reader.exported),
        spaced=tuple(reader.spaced),
        cut=tuple(reader.cut),
        lost=tuple(reader.lost),
        written=tuple(reader.written),
    )


class _Reader:
    """Follows a script from its first command to its last."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.written: list[Script] = []
        self.settings: list[Setting | None] = []
        """None in the place of one that was unset."""
        self.assigned: dict[str, list[int]] = defaultdict(list)
        """Places of the settings that an export of their name would change."""
        self.waiting: set[str] = set()
        """Names that were assigned, up to where a script may export them that is not followed."""
        self.untold = False
        """Whether names are exported that only a shell can tell."""
        self.within: dict[tuple[str, tuple[int, ...]], list[int]] = defaultdict(list)
        """Places of the settings of a name in a block and in those inside it."""
        self.launches: list[Launch] = []
        self.spaced: list[Setting] = []
        self.cut: list[Setting] = []
        self.lost: list[Setting] = []
        self.subshells: list[list[Setting] | None] = []
        """What is exported in the subshells that are open, the innermost last; None where one starts something."""
        self.used: set[str] = set()
        self.directives: list[str] = []
        self.exported: set[str] = set()
        self.unsettings: set[str] = set()
        self.known: dict[str, str | None] = {}
        """Values of variables that were given one text alone, None where there are several."""
        self.allexport = False
        self.order = 0
        self.depth = 0

    def read(self, text: str, line: int, scope: tuple[int, ...]) -> None:
        self.depth += 1
        outside = len(self.subshells)
        for found in commands(tokens(text, line)):
            if isinstance(found, Comment):
                self.comment(found)
            elif isinstance(found, Subshell):
                self.subshell(outside, opens=found.opens)
            elif isinstance(found, Array):
                self.use(found.words)
                self.mention(found.words, (*scope, *found.scope))
            elif isinstance(found, Loop):
                self.loop(found)
                self.mention(found.words[2:], (*scope, *found.scope))
            else:
                self.command(found._replace(scope=(*scope, *found.scope)))
        del self.subshells[outside:]
        self.depth -= 1

    def subshell(self, outside: int, *, opens: bool) -> None:
        if opens:
            self.subshells.append([])
        elif len(self.subshells) > outside:
            exports = self.subshells.pop()
            self.lost += exports or ()
            if exports is None:
                self.start()

    def start(self) -> None:
        """Note that the innermost subshell starts something."""
        if self.subshells:
            self.subshells[-1] = None

    def comment(self, comment: Comment) -> None:
        if match := DIRECTIVE.match(comment.text):
            system = match[1]
            words = match[2].split()
            self.directives.append(f"{system} {match[2]}")
            if system == "SBATCH":
                values = [word.removeprefix("--export=") for word in words if word.startswith("--export=")]
                self.listed(values, comment.line)
            elif system == "PBS":
                self.listed([words[i + 1] for i, word in enumerate(words[:-1]) if word == "-v"], comment.line)

    def listed(self, values: Sequence[str], line: int) -> None:
        for item in (item for value in values for item in items(value)):
            name, equals, value = item.partition("=")
            if equals and NAME.fullmatch(name):
                self.add(name, None if "$" in value else value, line, How.DIRECTIVE, ())

    def loop(self, loop: Loop) -> None:
        self.use(loop.words)
        if name := loop.words[0].literal:
            self.known[name] = None

    def mention(self, words: Sequence[Word], scope: tuple[int, ...], *, option: bool = False) -> None:
        """Note the settings in words that become options or assignments of some command."""
        for word in words:
            for name, value in settings_in(word, least=2 if option else 1):
                self.settings.append(Setting(name, value, word.line, How.LISTED, scope, self.order))

    def use(self, words: Sequence[Word]) -> None:
        self.used.update(name for word in words for name in word.names)

    def command(self, command: Command) -> None:
        self.order += 1
        self.use(command.words)
        starts = ((ASSIGNMENT.match(word.start), word) for word in command.words)
        assigned = [(match, word) for match, word in itertools.takewhile(lambda one: one[0], starts) if match]
        words = list(command.words[len(assigned) :])
        how = How.PREFIX if words else How.EXPORT if self.allexport else How.ASSIGN
        for match, word in assigned:
            self.assign(match, word, how, command.scope)
        if words:
            self.started(words, command)

    def assign(self, match: re.Match[str], word: Word, how: How, scope: tuple[int, ...], launch: int = -1) -> None:
        value = self.value(word.after(match.end()))
        self.add(match[1], None if match[2] else value, word.line, how, scope, launch)
        self.mention([word.after(match.end())], scope, option=True)

    def add(self, name: str, value: str | None, line: int, how: How, scope: tuple[int, ...], launch: int = -1) -> None:
        if how is How.ASSIGN:
            self.assigned[name].append(len(self.settings))
            self.waiting.add(name)
        for depth in range(len(scope) + 1):
            self.within[name, scope[:depth]].append(len(self.settings))
        setting = Setting(name, value, line, how, scope, self.order, launch)
        self.settings.append(setting)
        if how in (How.EXPORT, How.ASSIGN):
            again = name in self.known and self.known[name] != value
            self.known[name] = None if scope or again else value
        if how is How.EXPORT:
            self.exported.add(name)
            if self.subshells and (exports := self.subshells[-1]) is not None:
                exports.append(setting)

    def value(self, word: Word) -> str | None:
        """Return a word's text, with variables of one known text put in; None where only a shell can tell."""
        parts: list[str] = []
        for piece in word.pieces:
            text = piece.text if piece.kind is Kind.LITERAL else None
            if piece.kind is Kind.VARIABLE:
                text = self.known.get(piece.text)
            if text is None:
                return None
            parts.append(text)
        return "".join(parts)

    def started(self, words: list[Word], command: Command) -> None:
        """Follow the command proper, behind its assignments and wrappers."""
        for _ in range(MOST_WRAPPERS):
            if len(words) < 2 or _base(words[0]) not in WRAPPERS:
                break
            words = self.unwrapped(_base(words[0]), words[1:], command)
        if words and not self.cuts(words):
            self.proper(_base(words[0]), words, command)

    def proper(self, program: str, words: list[Word], command: Command) -> None:
        """Follow a command that is neither an assignment nor a wrapper of another."""
        if spaced := [one for one in _spaced(words[:3], How.ASSIGN) if one.name == words[0].literal]:
            self.spaced += spaced
        elif program in EXPORTING:
            self.exporting(program, words[1:], command.scope)
        elif program == "set":
            self.allexport = allexport([word.literal or "" for word in words[1:]], before=self.allexport)
        elif program in ("unset", "unsetenv"):
            for name in unset_names(words[1:]):
                self.unset(name, words[0].line, command.scope)
        elif program in SPEAKERS:
            self.said(program, words[1:], command)
        elif program not in NEUTRAL:
            self.hand_over(program, words)
            self.launch(program, words[1:], command)

    def said(self, program: str, words: Sequence[Word], command: Command) -> None:
        """Note what is written into nccl.conf by echo or printf."""
        if command.target is None or not is_conf(command.target.shown):
            return
        for line in said(program, words).split("\\n"):
            self.conf(line, command.line, expanded=True)

    def cuts(self, words: Sequence[Word]) -> bool:
        """Note what is a command only because the one before it has ended too early, and return whether this is so."""
        cut = self.cut[-1] if self.cut and self.cut[-1].order == self.order - 1 else None
        launch = self.launches[-1] if self.launches else None
        continues = launch and launch.kind is not LaunchKind.OTHER and launch.order == self.order - 1
        if words[0].literal in BEFORE_SETTING and (continues or (cut and cut.how is How.LAUNCHER)):
            found = (one for word in words for one in settings_in(word))
            cuts = [Setting(name, value, words[0].line, How.LAUNCHER, (), self.order) for name, value in found]
        else:
            last = cut or (self.settings[-1] if self.settings else None)
            rest = rest_of_value(last, words[0], self.order) if last else None
            cuts = [rest] if rest else []
        self.cut += cuts
        return bool(cuts)

    def hand_over(self, program: str, words: Sequence[Word]) -> None:
        """Note that a script that is sourced, or a text for eval, may export what was assigned before it."""
        if may_export(program, words):
            self.exported.update(self.waiting)
            self.waiting.clear()

    def unset(self, name: str, line: int, scope: tuple[int, ...], launch: int = -1) -> None:
        """Note that a variable is not set any more; without a name, all of them."""
        self.known[name] = None
        self.unsettings.add(name)
        for place in self.within.pop((name, scope), ()):
            self.settings[place] = None
        if scope or not name:
            self.settings.append(Setting(name, None, line, How.UNSET, scope, self.order, launch))

    def unwrapped(self, program: str, words: list[Word], command: Command) -> list[Word]:
        """Return the command behind a wrapper, its options and the variables that it sets."""
        if program == "eval":
            self.hand_over(program, words)
            self.start()
            self.launches.append(Launch(LaunchKind.OTHER, program, (), command.line, command.scope, self.order))
            return []
        at = 0
        while at < len(words) and (words[at].start.startswith("-") or DURATION.fullmatch(words[at].literal or "")):
            at += 2 if words[at].literal in ("-u", "-n", "-s", "-k") else 1
        for name in without(words[:at]) if program == "env" else ():
            self.unset(name, command.line, (*command.scope, -self.order), self.order)
        while at < len(words) and program in ("env", "sudo") and (match := ASSIGNMENT.match(words[at].start)):
            self.assign(match, words[at], How.PREFIX, command.scope)
            at += 1
        return words[at:]

    def exporting(self, program: str, words: list[Word], scope: tuple[int, ...]) -> None:
        if stops_exporting(program, words):
            for gone in unset_names([word for word in words if word.start[:1] not in ("-", "+")]):
                self.unset(gone, words[0].line, scope)
            return
        exports = program in ("export", "setenv", "ENV") or any(EXPORTED.match(word.start) for word in words)
        self.untold |= exports and any(hides_names(word) for word in words)
        how = How.EXPORT if exports else How.ASSIGN
        if program in ("setenv", "ENV") and words and not ASSIGNMENT.match(words[0].start):
            if name := words[0].literal:
                values = [self.value(word) for word in words[1:2]]
                self.add(name, values[0] if values else "", words[0].line, how, scope)
            return
        self.spaced += _spaced(words, how)
        for word in words:
            if match := ASSIGNMENT.match(word.start):
                self.assign(match, word, how, scope)
            elif exports and (name := word.literal) and NAME.fullmatch(name):
                self.export(name)

    def export(self, name: str) -> None:
        """Note that a name is exported: what it was assigned before is in force for commands from here on."""
        self.exported.add(name)
        for place in self.assigned.pop(name, ()):
            one = self.settings[place]
            self.settings[place] = one and one._replace(how=How.EXPORT)

    def launch(self, program: str, words: list[Word], command: Command) -> None:
        values = tuple(self.value(word) for word in words)
        found = launched(kind_of(program), program, values, words)
        for name, value, line in found.settings:
            self.add(name, value, line, How.LAUNCHER, command.scope, self.order)
        if found.kind is LaunchKind.OTHER and program not in SEARCHING:
            self.given(words, command.scope)
        self.start()
        self.launches.append(
            Launch(
                kind=found.kind,
                program=program,
                words=tuple(word.literal for word in words),
                line=command.line,
                scope=command.scope,
                order=self.order,
                passed=frozenset(found.passed),
                exports=found.exports,
                shown=tuple(word.shown for word in words),
                values=values,
                parts=found.parts,
            )
        )
        apart = (ELSEWHERE,) if found.kind in (LaunchKind.SSH, LaunchKind.CONTAINER) else ()
        inside = (*command.scope, -self.order, *apart)
        for text, line in self.nested(program, words, command):
            self.read(text, line, inside)

    def given(self, words: Sequence[Word], scope: tuple[int, ...]) -> None:
        """Note what options of a program set that is not known, such as a script that starts containers."""
        for option, word in itertools.pairwise(words):
            if option.literal in BEFORE_SETTING and (match := ASSIGNMENT.match(word.start)):
                self.add(match[1], self.value(word.after(match.end())), word.line, How.LISTED, scope)

    def conf(self, text: str, line: int, *, expanded: bool) -> None:
        """Note what the script writes into nccl.conf."""
        self.written.append(conf_script(text, self.source, line, expanded=expanded))

    def nested(self, program: str, words: Sequence[Word], command: Command) -> Iterator[tuple[str, int]]:
        """Yield scripts inside a command: of ``bash -c``, of ssh, of a here-document."""
        if self.depth > 3:
            return
        targets = [word.shown for word in (*words, *filter(None, [command.target]))]
        for document in command.documents:
            self.used.update(NAMES_IN.findall(document.text) if document.expanded else ())
            if any(is_conf(target) for target in targets):
                self.conf(document.text, document.line, expanded=document.expanded)
            elif is_script(program, document, targets):
                yield document.text, document.line
        python = program.startswith("python") or any(_base(word).startswith("python") for word in words)
        for before, word in itertools.pairwise(words if not python else ()):  # whose -c takes no shell's text
            if before.literal in ("-c", "-lc", "-ic") and word.quoted and word.shown:
                yield word.script, word.line
        if program == "ssh" and words and words[-1].quoted and words[-1].shown:
            yield words[-1].script, words[-1].line


def _spaced(words: Sequence[Word], how: How) -> Iterator[Setting]:
    """Yield what would be assigned, were there no blanks around ``=``: ``A = 1``, ``A =1``, ``export A= 1``."""
    texts = [word.literal or "" for word in words]
    for at, (name, after) in enumerate(itertools.pairwise(texts)):
        if NAME.fullmatch(name) and after.startswith("="):
            value = after[1:] or " ".join(texts[at + 2 : at + 3])
            yield Setting(name, value, words[at].line, how)
        elif how is How.EXPORT and NAME.fullmatch(name.removesuffix("=")) and NO_NAME.match(after) and name[-1] == "=":
            yield Setting(name[:-1], after, words[at].line, how)


def _base(word: Word) -> str:
    """Return a program's name without its folder; empty where only a shell can tell."""
    text = word.literal
    if text is None:
        last = word.pieces[-1]
        return last.text.rpartition("/")[2] if last.kind is Kind.LITERAL and "/" in last.text else ""
    return text.rpartition("/")[2]
