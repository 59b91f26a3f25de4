import pytest

from ncclprobe.tuner.shell_commands import Command, commands
from ncclprobe.tuner.shell_script import shell_script
from ncclprobe.tuner.shell_words import HereDocument, Operator, Word, tokens


def words(text):
    return [(token.literal, token.line) for token in tokens(text) if isinstance(token, Word)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", [("a", 1), ("b", 1)]),
        ("'a b'\"c d\"e\\ f", [("a bc de f", 1)]),
        ("a \\\n  b\nc", [("a", 1), ("b", 2), ("c", 3)]),
        ("a # b\nc#d", [("a", 1), ("c#d", 2)]),
        ("$A ${B} x$C", [(None, 1), (None, 1), (None, 1)]),
        ("$(a; b 'c)') `d e` $((1+2)) f", [(None, 1), (None, 1), (None, 1), ("f", 1)]),
        ("\"a\nb\" c", [("a\nb", 1), ("c", 2)]),
        ("a=$'x'", [("a=x", 1)]),
        ("'open", [("open", 1)]),
    ],
)  # fmt: skip
def test_words(text, expected):
    assert words(text) == expected


def test_a_here_document_ends_at_its_delimiter():
    found = tokens("cat <<-'E' > f\n\ta $B\n\tE\nnext\n")
    assert [token for token in found if isinstance(token, HereDocument)] == [HereDocument("a $B", 2, expanded=False)]
    assert [token.text for token in found if isinstance(token, Operator)] == ["<<-", ">", "\n", "\n"]


def shape(text):
    return [
        (" ".join(word.literal or "?" for word in command.words), len(command.scope))
        for command in commands(tokens(text))
        if isinstance(command, Command)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a; b && c || d\ne", [("a", 0), ("b", 0), ("c", 1), ("d", 1), ("e", 0)]),
        ("if a; then b; else c; fi; d", [("a", 1), ("b", 1), ("c", 1), ("d", 0)]),
        ("for x in 1 2; do a; done\nb", [("a", 1), ("b", 0)]),
        ("case $x in a|b) c;; *) d;; esac\ne", [("c", 1), ("d", 1), ("e", 0)]),
        ("f() { a; }\nb", [("a", 1), ("b", 0)]),
        ("function f {\n a\n}\nb", [("a", 1), ("b", 0)]),
        ("function f() {\n a\n}\nb", [("a", 1), ("b", 0)]),
        ("{ a; }; ( b; ); c", [("a", 0), ("b", 1), ("c", 0)]),
        ("a > out 2>&1 < in", [("a 2", 0)]),
        ("A=(x y)\nb", [("b", 0)]),
    ],
)
def test_commands(text, expected):
    assert shape(text) == expected


def settings(text):
    return [(one.name, one.value, one.line, one.how.value) for one in shell_script(text, "s").settings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export A=1 B='2 3'", [("A", "1", 1, "export"), ("B", "2 3", 1, "export")]),
        ("A=1\nexport A", [("A", "1", 1, "export")]),
        ("A=1 B=$X run", [("A", "1", 1, "prefix"), ("B", None, 1, "prefix")]),
        ("X=1; export A=${X}0", [("X", "1", 1, "assign"), ("A", "10", 1, "export")]),
        ("X=1; X=2; export A=$X", [("X", "1", 1, "assign"), ("X", "2", 1, "assign"), ("A", None, 1, "export")]),
        ("env -u B A=1 run", [("B", None, 1, "unset"), ("A", "1", 1, "prefix")]),
        ("setenv A 1", [("A", "1", 1, "export")]),
        ("mpirun -x A=1 -x B run", [("A", "1", 1, "launcher")]),
        ("mpiexec -genv A 1 -env B=2 run", [("A", "1", 1, "launcher"), ("B", "2", 1, "launcher")]),
        ("srun --export=ALL,A=1 run", [("A", "1", 1, "launcher")]),
        ("docker run -e A=1 --env=B=2 image", [("A", "1", 1, "launcher"), ("B", "2", 1, "launcher")]),
        ("#SBATCH --export=ALL,A=1", [("A", "1", 1, "directive")]),
        ("#PBS -v A=1,B=2", [("A", "1", 1, "directive"), ("B", "2", 1, "directive")]),
        ("qsub -v A=1 job", [("A", "1", 1, "launcher")]),
        ("A+=1", [("A", None, 1, "assign")]),
        ("bash <<E\nexport A=1\nE\n", [("A", "1", 2, "export")]),
        ("cat <<E | ssh h bash\nexport A=1\nE\n", [("A", "1", 2, "export")]),
        ("cat > a.sh 2> b <<E\nexport A=1\nE\n", [("A", "1", 2, "export")]),
        ("tee $X.pbs <<E\nexport A=1\nE\n", [("A", "1", 2, "export")]),
        ("cat > $X <<E\n#!/bin/sh\nexport A=1\nE\n", [("A", "1", 3, "export")]),
        ("cat <<E\nexport A=1\nE\n", []),
        ("cat > a.txt <<E\nexport A=1\nE\n", []),
        ("python <<E\nexport A=1\nE\n", []),
        ("ssh h 'A=1 run'", [("A", "1", 1, "prefix")]),
        ("if x; then export A=1; fi", [("A", "1", 1, "export")]),
    ],
)  # fmt: skip
def test_settings(text, expected):
    assert settings(text) == expected
