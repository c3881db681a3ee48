"""Does anything that a cell would send look like a credential? Decided before anything is sent.

The detectors are those of detect-secrets (https://github.com/Yelp/detect-secrets), without its entropy detectors: hashes,
identifiers and encoded images are everyday values of notebooks. A cheap look comes first, so that the library is loaded
only for a text that has something of a credential.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from cellferry.capture.inside import own_dict
from cellferry.capture.stuck import class_dict, class_mro, class_origin
from cellferry.errors import LooksSecret

PRAGMA = re.compile(r"#\s*pragma:\s*allowlist[ -]secret")
_LONGEST = 1 << 16
"""Of a longer text only this much is looked at."""
_SHORTEST = 8
_ENVIRONMENT = "the value of a secret environment variable"
_DEEPEST, _MOST = 3, 200
_HALLMARKS = re.compile(
    r"AKIA|ASIA|ABIA|ACCA|A3T|gh[pousr]_|github_pat_|gl[a-z]{2,5}-|xox[a-z]-|hooks\.slack\.com|sk_live|rk_live|sk-[A-Za-z0-9]"
    r"|-----BEGIN|eyJ[A-Za-z0-9]|://[^\s/@]*:[^\s/@]+@|SG\.[A-Za-z0-9]|_authToken|npm_|pypi-|AccountKey=|sq0|-us[0-9]"
    r"|AC[a-z0-9]{32}|SK[a-z0-9]{32}|[0-9]{8,10}:[A-Za-z0-9_-]{35}|hf_[A-Za-z0-9]|AIza|[MNO][a-zA-Z\d_-]{23,25}\."
)
_SUSPICIOUS = re.compile(
    r"passw|passwd|pwd|passphrase|secret|api_?key|access_?key|auth_?key|private_?key|priv_?key|client_?key|service_?key"
    r"|account_?key|db_?key|db_?pass|token|credential|contrase",
    re.IGNORECASE,
)
_DETECTORS = (
    "aws.AWSKeyDetector", "azure_storage_key.AzureStorageKeyDetector", "basic_auth.BasicAuthDetector",
    "discord.DiscordBotTokenDetector", "github_token.GitHubTokenDetector", "gitlab_token.GitLabTokenDetector",
    "jwt.JwtTokenDetector", "mailchimp.MailchimpDetector", "npm.NpmDetector", "openai.OpenAIDetector",
    "private_key.PrivateKeyDetector", "pypi_token.PypiTokenDetector", "sendgrid.SendGridDetector", "slack.SlackDetector",
    "square_oauth.SquareOAuthDetector", "stripe.StripeDetector", "telegram_token.TelegramBotTokenDetector",
    "twilio.TwilioKeyDetector",
)  # fmt: skip
_MORE = (
    (
        "Hugging Face Token",
        re.compile(r"\bhf_[A-Za-z]{30,}\b|\bhf_[A-Za-z0-9]{34,}\b"),
    ),  # huggingface.co/docs/hub/security-tokens
    ("Google API Key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b")),  # cloud.google.com/docs/authentication/api-keys
    ("Anthropic API Key", re.compile(r"\bsk-ant-[A-Za-z0-9_-]{20,}")),
    ("OpenAI Project Key", re.compile(r"\bsk-proj-[A-Za-z0-9_-]{20,}")),
)
"""What the library does not know, by the forms that their makers document."""


@dataclass(frozen=True)
class Suspect:
    """``where``: a name with the path to the value, or a line; ``kind``: what it looks like. Never the secret itself."""

    where: str
    kind: str
    name: str = ""
    """The variable that has to be named to let it pass; "" for a literal."""

    def error(self) -> LooksSecret:
        if self.name:
            allow = f"%%remote allow={self.name}"
        else:
            allow = "end the line with `# pragma: allowlist secret`"
        return LooksSecret(
            f"{self.where} looks like a credential ({self.kind}); nothing was sent",
            f"keep it in an environment variable and name that: %%remote secrets=NAME; or, if it may go: {allow}",
        )


def kind_of_secret(text: str) -> str | None:
    """What kind of credential is in a text, or None."""
    return _kind(text[:_LONGEST])


@lru_cache(maxsize=8192)
def _kind(text: str) -> str | None:
    if len(text) < _SHORTEST or not _HALLMARKS.search(text):
        return None
    for kind, pattern in _MORE:
        if pattern.search(text):
            return kind
    for detector in _detectors():
        for line in text.splitlines():
            if any(True for _ in detector.analyze_string(line)):
                return str(detector.secret_type)
    return None


@lru_cache(maxsize=1)
def _detectors() -> list[Any]:
    from importlib import import_module

    found = []
    for path in _DETECTORS:
        module, _, name = path.partition(".")
        found.append(getattr(import_module(f"detect_secrets.plugins.{module}"), name)())
    return found


@lru_cache(maxsize=8192)
def kind_by_name(name: str, text: str) -> str | None:
    """What a text is because of the name that it goes by (``db_password``); None for words, paths and blanks."""
    if not _SUSPICIOUS.search(name) or not _is_random(text):
        return None
    if "token" in name.lower() and not (len(text) >= 20 and _mixed(text)):
        return None
    if "token" in name.lower():
        return "Secret Keyword"
    from detect_secrets.plugins.keyword import KeywordDetector

    plain = text.replace('"', "").replace("\\", "")
    return "Secret Keyword" if any(True for _ in KeywordDetector().analyze_string(f'{name} = "{plain}"')) else None


def _is_random(text: str) -> bool:
    """Whether somebody might have thought of it as a password: no blanks, not a single word, not a path."""
    if (
        not _SHORTEST <= len(text) <= 512
        or any(c.isspace() for c in text)
        or text.startswith(("/", "./", "~", "<", "{", "$"))
    ):
        return False
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text)


def _mixed(text: str) -> bool:
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text) and " " not in text


def find_in_values(values: Mapping[str, object], known: Iterable[str] = ()) -> Suspect | None:
    """The first of the named values with a credential in it, at most a few levels deep; runs none of their code.

    ``known``: texts that are credentials for certain (the values of environment variables that are named so).
    """
    certain = {text for text in known if len(text) >= _SHORTEST}
    for name, value in values.items():
        for path, key, text in _texts(name, value):
            kind = _ENVIRONMENT if text in certain else kind_of_secret(text)
            kind = kind or kind_by_name(key, text)
            if kind is not None:
                return Suspect(path, kind, name)
    return None


def _texts(name: str, value: object) -> Iterator[tuple[str, str, str]]:
    """(path, last name on it, text) of every string in ``value``."""
    pending: list[tuple[str, str, object, int]] = [(name, name, value, 0)]
    seen = 0
    while pending and seen < _MOST:
        path, key, item, depth = pending.pop()
        seen += 1
        kind = type(item)
        if kind is str:
            yield path, key, item  # type: ignore[misc]
        elif kind in (bytes, bytearray) and len(item) <= _LONGEST:  # type: ignore[arg-type]
            yield path, key, item.decode("latin-1")  # type: ignore[attr-defined]
        elif depth < _DEEPEST:
            pending += [(f"{path}{step}", inner or key, child, depth + 1) for step, inner, child in _inside(item)]


def _inside(item: object) -> list[tuple[str, str, object]]:
    kind = type(item)
    if kind is dict:
        pairs = list(item.items())[:_MOST]  # type: ignore[attr-defined]
        return [(f"[{key!r}]", key if type(key) is str else "", value) for key, value in pairs]
    if kind in (list, tuple, set, frozenset):
        return [(f"[{at}]", "", value) for at, value in enumerate(list(item)[:_MOST])]  # type: ignore[call-overload]
    if issubclass(kind, (type, ModuleType, FunctionType)):
        return []
    is_plain = class_origin(kind)[0] == "__main__" or any(
        "__dataclass_fields__" in class_dict(base) for base in class_mro(kind)
    )
    table = own_dict(item) if is_plain else None
    return [(f".{key}", key, value) for key, value in list(table.items())[:_MOST]] if type(table) is dict else []


def find_in_source(source: str, above: int = 0, known: Iterable[str] = ()) -> Suspect | None:
    """The first string literal of a cell that is a credential; ``source`` is Python, ``above``: lines of the cell before it,
    ``known``: as for values. A pragma on its line lets it pass."""
    certain = {text for text in known if len(text) >= _SHORTEST and text in source}
    if not (certain or _HALLMARKS.search(source) or _SUSPICIOUS.search(source)):
        return None
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    lines = source.splitlines()
    for name, node in _literals(tree):
        text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")  # type: ignore[union-attr]
        kind = _ENVIRONMENT if text in certain else kind_of_secret(text) or (kind_by_name(name, text) if name else None)
        if kind is not None and not any(PRAGMA.search(line) for line in lines[node.lineno - 1 : node.end_lineno]):
            return Suspect(f"the text in line {node.lineno + above} of the cell", kind)
    return None


def _literals(tree: ast.AST) -> Iterator[tuple[str, ast.Constant]]:
    """Texts in a tree, with the name that each is bound or passed to ("" for none)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            yield from ((_target(t), node.value) for t in node.targets if _is_text(node.value))
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and _is_text(node.value):
            yield _target(node.target), node.value  # type: ignore[misc]
        elif isinstance(node, ast.keyword) and _is_text(node.value):
            yield node.arg or "", node.value  # type: ignore[misc]
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if _is_text(value):
                    yield str(key.value) if isinstance(key, ast.Constant) else "", value  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and _is_text(node):
            yield "", node


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))


def _target(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def find_in_functions(functions: Iterable[FunctionType], known: Iterable[str] = ()) -> Suspect | None:
    """The first function with a credential among its constants or the defaults of its arguments."""
    certain = tuple(text for text in known if len(text) >= _SHORTEST)
    for function in functions:
        kind = _in_code(function.__code__, certain)
        if kind is not None:
            return Suspect(f"a text in function {function.__qualname__}", kind, function.__name__)
        defaults = {"defaults": [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]}
        found = find_in_values(defaults, certain) if defaults["defaults"] else None
        if found is not None:
            return Suspect(f"a default of function {function.__qualname__}", found.kind, function.__name__)
    return None


@lru_cache(maxsize=4096)
def _in_code(code: CodeType, certain: tuple[str, ...]) -> str | None:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found = _in_code(const, certain)
        else:
            found = next((s.kind for s in [find_in_values({"": const}, certain)] if s is not None), None)
        if found is not None:
            return found
    return None


_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|PASSPHRASE|_PWD$|_AUTH", re.IGNORECASE)


def secret_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those environment variables whose names say that they are secrets."""
    return {name: environ[name] for name in environ if _is_secret_name(name) and _is_random(environ[name])}


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None
