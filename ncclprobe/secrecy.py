"""What must reach no record, report or log: values of names that say so, keys by their form, passwords in addresses.

Source: the prefixes that GitHub, Hugging Face, OpenAI, Slack, AWS, NVIDIA and Google document for their keys; RFC 3986,
section 3.2.1 (``user:word@host``); RFC 9110, section 11.6.2 (``Authorization``); RFC 7468 (private keys); RFC 6750,
section 2.1 (``Bearer``); RFC 7519 (``eyJ`` begins a JSON web token)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

MASK = "(hidden)"
Kind = TypeVar("Kind")

_ANYWHERE = re.compile(r"\w*(?:SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)|AUTHORIZATION")
_LAST = re.compile(r"\w*(?:TOKEN|APIKEY|ACCESSKEY|PRIVATEKEY|SECRETKEY)|KEY|PWD|AUTH|COOKIE|JWT")
"""Parts of a name between ``_`` and ``-`` that make its value a secret, the latter at its end: HF_TOKEN and MY_KEY_2,
but not max_tokens, token_bytes or NCCL_IB_PKEY."""
_PAIRS = re.compile(
    r"(?:.*_)?(?:API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_KEYS?(?:_.*)?|.+_(?:PAT|PASS)|(?:.*_)?AUTH_CONFIG"
)
"""Such names of several parts: API_KEY_ID, SIGNING_KEYS, GITHUB_PAT, but not PAT, an algorithm, or "pass: 2"."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PUBLIC = frozenset({"PWD", "OLDPWD", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PAGER"})
_QUOTED = r"\"(?:[^\"\\]|\\.){0,4096}\"|'[^']{0,4096}'"
_VALUE = re.compile(
    rf"(?:{_QUOTED})(?=[,;:)}}\]]|\s|$)"
    r"|\\{1,3}\"[^\"]{0,4096}\"|\\{1,3}'[^']{0,4096}'"  # quotes in a text that was quoted itself
    rf"|(?:{_QUOTED}|\\.|\S)++",  # a shell's word
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?<![\w-])(?:-{0,2}[A-Za-z_][\w-]{0,120}(?:\\{0,3}[\"'])?\s{0,4}[=:]|--[A-Za-z][\w-]{0,120}(?=\s|[\"'],)[\"']?,?)\s{0,4}"
)
_BEARER = re.compile(r"(\bBearer\s{1,4})\S+", re.IGNORECASE)
_SCHEME = re.compile(
    r"(\bauthorization(?:\\{0,3}[\"'])?\s{0,4}[=:]\s{0,4}(?:\\{0,3}[\"'])?\w{1,20}\s{1,4})\S+", re.IGNORECASE
)
_HIDDEN_BEHIND_SCHEME = re.compile(rf"\w{{1,20}}\s{{1,4}}{re.escape(MASK)}")
_ADDRESS = re.compile(
    r"((?<![a-z0-9+.-])[a-z][a-z0-9+.-]{0,20}://)(?:[^\s/]{1,500}|[^\s/@:]{0,200}:(?!\d{1,5}/)\S{1,500})@",
    re.IGNORECASE,
)
"""A word with a slash or an ``@`` in it is one, too, though RFC 3986 has them written otherwise; a port is none."""
_FORMED = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{20,200}|gh[pousr]_[A-Za-z0-9]{20,200}|github_pat_\w{20,200}|sk-[\w-]{20,200}"
    r"|xox[abprs]-[\w-]{10,200}|A[KS]IA[A-Z0-9]{16}|glpat-[\w-]{20,200}|nvapi-[\w-]{20,200}|AIza[\w-]{35}"
    r"|eyJ[\w-]{4,2000}\.[\w-]{4,4000}\.[\w-]{0,2000})"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)


def is_secret(name: str) -> bool:
    """Return whether a variable's or an option's name says that its value is nobody's business."""
    upper = _HUMP.sub("_", name.strip("-")).upper()
    if upper in _PUBLIC or upper.startswith("AWS_"):
        return upper not in _PUBLIC
    parts = [part for part in re.split(r"[_.-]", upper) if part and not part.isdigit()]
    sign = bool(parts and _LAST.fullmatch(parts[-1])) or any(map(_ANYWHERE.fullmatch, parts))
    return sign or _PAIRS.fullmatch("_".join(parts)) is not None


def without_secrets(text: str) -> str:
    """Return a text with the values of ``…TOKEN=…``, ``--api-key …``, ``user:word@host`` and known keys hidden."""
    text = _SCHEME.sub(rf"\g<1>{MASK}", text)
    text = _FORMED.sub(MASK, _BEARER.sub(rf"\g<1>{MASK}", "".join(_open_parts(text))))
    return _ADDRESS.sub(rf"\g<1>{MASK}@", text)


def _open_parts(text: str) -> Iterator[str]:
    """Yield a text in parts, the value after each secret name hidden; what follows other names is looked through."""
    done = at = 0
    while found := _NAMED.search(text, at):
        at = found.end()
        if _HIDDEN_BEHIND_SCHEME.match(text, at):
            continue
        if is_secret(re.split(r"[\"'\\\s=:,]", found[0], maxsplit=1)[0]) and (value := _VALUE.match(text, at)):
            yield text[done:at] + MASK
            done = at = value.end()
    yield text[done:]


def open_variables(variables: Mapping[str, object]) -> dict[str, str]:
    """Return variables as text, the values of secret ones hidden."""
    return {name: MASK if is_secret(name) else without_secrets(str(value)) for name, value in variables.items()}


def open_tokens(tokens: Iterable[str]) -> Iterator[str]:
    """Yield a command line's tokens; what follows ``--api-key`` and its like is hidden."""
    hide = False
    for token in tokens:
        yield MASK if hide else without_secrets(token)
        hide = token.startswith("-") and "=" not in token and is_secret(token)


def opened(value: Any) -> Any:
    """Return nested values as they may be kept: secrets in texts, under names that say so, and in lists of tokens."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {
            key: MASK if isinstance(inner, str) and inner and is_secret(str(key)) else opened(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        if value and all(isinstance(inner, str) for inner in value):
            return [*open_tokens(value)]
        return [opened(inner) for inner in value]
    return value


def holds_secret(options: Any) -> bool:
    """Return whether options hold a secret, kept or not, without which a run cannot go on."""
    return MASK in str(opened(options))


_SUSPICIOUS = re.compile(
    rb"token|secret|pass(?:\b|_|w|phrase)|credential|key|pwd|auth|cookie|jwt|_pat\\b|://|bearer|basic|aws_|hf_|gh[pousr]_|github_pat|sk-|xox"
    rb"|a[ks]ia|glpat|nvapi|aiza|eyJ",
    re.IGNORECASE,
)


def kept_json(content: Any) -> bytes:
    """Return JSON as it may be kept; what holds no sign of a secret is not looked through, which costs more.

    What UTF-8 cannot hold, such as bytes of a file's name that are none of its characters, becomes a question mark.
    """
    try:
        plain = msgspec.json.encode(content)
    except UnicodeEncodeError:
        content = _encodable(msgspec.to_builtins(content))
        plain = msgspec.json.encode(content)
    return msgspec.json.encode(opened(msgspec.to_builtins(content))) if _SUSPICIOUS.search(plain) else plain


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    return [_encodable(inner) for inner in value] if isinstance(value, list | tuple) else value


def open_record(record: Kind) -> Kind:
    """Return a record as it may be kept."""
    plain = msgspec.to_builtins(record)
    kept = opened(plain)
    return record if kept == plain else msgspec.convert(kept, type(record))
