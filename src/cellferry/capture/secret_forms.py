"""What keys look like: the forms that their makers give them, and the texts in which people keep them. Pure.

A table of our own, best effort: a service that came up since is not in it. Every form is bounded on both sides, so that it is not
found in the middle of encoded images, hashes and identifiers, which are everyday values of notebooks.

``re`` with a hundred alternatives takes half a microsecond for each character. So the places worth a look are found by
``bytes.find``, which is two orders faster: words that give a secret away, and runs of at least 16 characters of which keys are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_KEY_CHARS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_RUNS = bytes(ord("a") if c in _KEY_CHARS else ord(" ") for c in range(256))
_LEAST_RUN = b"a" * 16
_END = r"(?![A-Za-z0-9_-])"
_WORD = r"[A-Za-z0-9_-]"


@dataclass(frozen=True)
class Found:
    """``token``: the text that was recognised, never shown."""

    kind: str
    token: str


_AT_RUNS = [
    (kind, tuple(beginnings.split()), re.compile(f"(?:{'|'.join(map(re.escape, beginnings.split()))}){rest}"))
    for kind, beginnings, rest in [
        ("AWS Access Key", "AKIA ASIA ABIA ACCA", rf"[A-Z0-9]{{16}}{_END}"),
        ("AWS Bedrock Key", "ABSK", r"[A-Za-z0-9+/]{100,}={0,2}(?![A-Za-z0-9])"),
        ("GitHub Token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"[A-Za-z0-9]{{36,255}}{_END}"),
        ("GitHub Token", "github_pat_", rf"[A-Za-z0-9]{{20,30}}_[A-Za-z0-9]{{50,70}}{_END}"),
        ("GitLab Token", "glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct-", r"[A-Za-z0-9_.-]{20,100}"),
        ("Slack Token", "xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xoxc- xoxd- xapp-", r"[A-Za-z0-9%.-]{20,300}(?![A-Za-z0-9])"),
        ("Stripe Key", "sk_live_ rk_live_ sk_test_ rk_test_ whsec_", r"[A-Za-z0-9+/=]{20,250}(?![A-Za-z0-9_-])"),
        ("Anthropic API Key", "sk-ant-", rf"{_WORD}{{20,250}}{_END}"),
        ("OpenAI API Key", "sk-", rf"{_WORD}{{10,140}}T3BlbkFJ{_WORD}{{10,140}}{_END}"),
        ("OpenAI API Key", "sk-proj- sk-svcacct- sk-admin- sk-None-", rf"{_WORD}{{20,250}}{_END}"),
        ("OpenRouter API Key", "sk-or-v1-", rf"[a-f0-9]{{64}}{_END}"),
        ("Langfuse Key", "sk-lf-", rf"[a-f0-9-]{{36}}{_END}"),
        ("API Key", "sk-", rf"(?=[A-Za-z]*\d)(?:[a-f0-9]{{32}}|[A-Za-z0-9]{{48}}){_END}"),
        ("ElevenLabs API Key", "sk_", rf"[a-f0-9]{{48}}{_END}"),
        ("Hugging Face Token", "hf_ api_org_", rf"[A-Za-z0-9]{{34,40}}{_END}"),
        ("Google API Key", "AIza", rf"{_WORD}{{35}}{_END}"),
        ("Google OAuth Secret", "GOCSPX-", rf"{_WORD}{{28}}{_END}"),
        ("Google Storage Key", "GOOG1E GOOG", rf"[A-Z0-9]{{10,60}}(?<=[A-Z0-9]{{20}}){_END}"),
        ("JSON Web Token", "eyJ", rf"{_WORD}{{10,}}\.eyJ{_WORD}{{10,}}\.{_WORD}{{16,}}"),
        ("PyPI Token", "pypi-AgE", rf"{_WORD}{{50,}}"),
        ("npm Token", "npm_", rf"[A-Za-z0-9]{{36}}{_END}"),
        ("RubyGems Key", "rubygems_", rf"[a-f0-9]{{48}}{_END}"),
        ("Docker Hub Token", "dckr_pat_ dckr_oat_", rf"{_WORD}{{27,40}}{_END}"),
        ("Mailgun Key", "key-", rf"[a-f0-9]{{32}}{_END}"),
        ("Twilio Key", "AC SK", r"(?=[a-z]*\d)[a-z0-9]{32}(?![A-Za-z0-9])"),
        ("Square Token", "sq0atp- sq0csp- sq0idp-", rf"{_WORD}{{22,50}}{_END}"),
        ("Private Key", "AGE-SECRET-KEY-1", r"[A-Z0-9]{50,}"),
        ("Private Key", "LS0tLS1CRUdJTi", r"[A-Za-z0-9+/]{0,40}?(?:UFJJVkFURS|BSSVZBVEUg|QUklWQVRFI)"),
        ("Databricks Token", "dapi", rf"[a-f0-9]{{32}}(?:-\d)?{_END}"),
        ("DigitalOcean Token", "dop_v1_ doo_v1_ dor_v1_", rf"[a-f0-9]{{64}}{_END}"),
        ("Groq API Key", "gsk_", rf"[A-Za-z0-9]{{48,60}}{_END}"),
        ("Replicate Token", "r8_", rf"[A-Za-z0-9]{{37}}{_END}"),
        ("xAI API Key", "xai-", rf"[A-Za-z0-9]{{70,90}}{_END}"),
        ("Perplexity API Key", "pplx-", rf"[A-Za-z0-9]{{40,60}}{_END}"),
        ("Fireworks API Key", "fw_", rf"(?=[A-Za-z]*\d)[A-Za-z0-9]{{22,30}}{_END}"),
        ("Together API Key", "tgp_v1_", rf"{_WORD}{{40,50}}{_END}"),
        ("Tavily API Key", "tvly-", rf"(?=[A-Za-z-]*\d){_WORD}{{32,60}}{_END}"),
        ("NVIDIA API Key", "nvapi-", rf"{_WORD}{{60,75}}{_END}"),
        ("Pinecone API Key", "pcsk_", rf"[A-Za-z0-9_]{{50,80}}{_END}"),
        ("LangSmith API Key", "lsv2_pt_ lsv2_sk_", rf"[a-f0-9]{{32}}_[a-f0-9]{{10}}{_END}"),
        ("Weights & Biases Key", "wandb_v1_", rf"{_WORD}{{40,120}}{_END}"),
        ("Kaggle Token", "KGAT_", rf"[a-f0-9]{{32}}{_END}"),
        ("RunPod API Key", "rpa_", rf"[A-Za-z0-9]{{40,60}}{_END}"),
        ("Linear API Key", "lin_api_ lin_oauth_", rf"[A-Za-z0-9]{{40,70}}{_END}"),
        ("Notion Token", "ntn_ secret_", rf"(?=[A-Za-z]*\d)[A-Za-z0-9]{{43,50}}{_END}"),
        ("Shopify Token", "shpat_ shpca_ shppa_ shpss_ shpua_", rf"[A-Fa-f0-9]{{32}}{_END}"),
        ("Postman API Key", "PMAK-", rf"[a-f0-9]{{24}}-[a-f0-9]{{34}}{_END}"),
        ("Grafana Token", "glsa_ glc_", r"[A-Za-z0-9+/_]{32,400}={0,2}(?![A-Za-z0-9_-])"),
        ("New Relic Key", "NRAK- NRII- NRJS-", rf"{_WORD}{{19,42}}{_END}"),
        ("Sentry Token", "sntrys_ sntryu_", r"[A-Za-z0-9+/=_]{40,}"),
        ("Supabase Token", "sbp_ sb_secret_", rf"{_WORD}{{30,50}}{_END}"),
        ("Airtable Token", "pat", rf"[A-Za-z0-9]{{14}}\.[a-f0-9]{{64}}{_END}"),
        ("Atlassian Token", "ATATT3 ATCTT3 ATBB", r"[A-Za-z0-9_=+/-]{28,250}"),
        ("Alibaba Key", "LTAI", rf"(?=[A-Za-z]*\d)[A-Za-z0-9]{{12,26}}{_END}"),
        ("Figma Token", "figd_", rf"{_WORD}{{38,50}}{_END}"),
        ("Heroku Key", "HRKU-", rf"{_WORD}{{36,70}}{_END}"),
        ("Netlify Token", "nfp_", rf"[A-Za-z0-9]{{36,50}}{_END}"),
        ("Tailscale Key", "tskey-", rf"[a-z]+-[A-Za-z0-9-]{{15,80}}{_END}"),
        ("PlanetScale Token", "pscale_tkn_ pscale_oauth_ pscale_pw_", r"[A-Za-z0-9_.=-]{30,70}"),
        ("1Password Token", "ops_eyJ", r"[A-Za-z0-9+/_=-]{100,}"),
        ("Prefect Key", "pnu_ pnb_", rf"[A-Za-z0-9]{{36}}{_END}"),
        ("Facebook Token", "EAA", rf"(?=[A-Za-z]*\d)[A-Za-z0-9]{{90,300}}{_END}"),
    ]
]  # fmt: skip
"""Kind, beginnings and what follows, of keys that are one run, or begin with one."""

_AFTER = [
    (kind, re.compile(form))
    for kind, form in [
        ("SendGrid API Key", rf"(?<=SG\.){_WORD}{{22}}\.{_WORD}{{43}}{_END}"),
        ("Google OAuth Token", rf"(?<=ya29\.){_WORD}{{30,}}"),
        ("Vault Token", rf"(?<=hv[sbr]\.){_WORD}{{24,300}}{_END}"),
        ("Doppler Token", r"(?<=dp\.[psc]t\.)[A-Za-z0-9_.]{40,60}"),
        ("Dropbox Token", rf"(?<=\bsl\.){_WORD}{{130,}}|(?<=\bsl\.u\.){_WORD}{{130,}}"),
        ("Terraform Cloud Token", r"(?<=[A-Za-z0-9]{14}\.atlasv1\.)[A-Za-z0-9_=-]{60,70}"),
        ("Discord Bot Token", rf"(?<=[MNO]{_WORD}{{23}}\.{_WORD}{{6}}\.){_WORD}{{27,40}}{_END}"),
        ("Discord Bot Token", rf"(?<=[MNO]{_WORD}{{25}}\.{_WORD}{{6}}\.){_WORD}{{27,40}}{_END}"),
        ("Telegram Bot Token", rf"(?<=[0-9]{{8}}:){_WORD}{{35}}{_END}"),
        ("Azure Client Secret", r"(?<=[A-Za-z0-9_.~-]{3}[78]Q~)[A-Za-z0-9_.~-]{31,34}(?![A-Za-z0-9_.~-])"),
    ]
]  # fmt: skip
"""Those whose run stands after a dot, a tilde or a colon."""

_MAILCHIMP = re.compile(r"[a-f0-9]{32}-us\d{1,2}(?![A-Za-z0-9])")
_AT_WORDS = [
    (kind, word, re.compile(form))
    for kind, word, form in [
        ("Slack Webhook", "hooks.slack.com/", r".{16}(?:services|workflows|triggers)/[A-Za-z0-9_/+-]{20,}"),
        ("Discord Webhook", "/api/webhooks/", r".{14}\d{15,22}/[A-Za-z0-9_-]{40,}"),
        ("npm Token", "_auth", r"_auth(?:Token)?[ \t]*=[ \t]*[\"']?(?![$<{])[A-Za-z0-9+/_=-]{12,}"),
        ("Azure Storage Key", "accesskey=", r".{10}[A-Za-z0-9+/]{40,88}={0,2}"),
        ("Azure Storage Key", "accountkey=", r".{11}[A-Za-z0-9+/]{40,88}={0,2}"),
        ("Azure Signature", "sig=", r".{4}[A-Za-z0-9%+/]{40,70}(?:%3D|=|%3d)"),
        ("Signed URL", "-signature=", r".{11}[a-f0-9]{64,}"),
        ("Private Key", "-----begin ", r".{11}(?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
        ("Private Key", "putty-user-key-file-", r".{20}\d:"),
        ("Password in a URL", "://",
         r"://[^\s/?#@:\"'<>\0\\]{0,64}:(?![$<{(%*])[^\s/@\"'<>\0{}$\\]{2,200}@[A-Za-z0-9\[]"),
        ("Token in a URL", "://", r"://(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{24,200}@(?!\S*sentry)[A-Za-z0-9]"),
        ("Bearer Token", "bearer ",
         r".{7}(?=[A-Za-z._+/-]*\d)(?=[\d._+/-]*[A-Za-z])[A-Za-z0-9._~+/-]{20,4000}=*(?![A-Za-z0-9_])"),
        ("Authorization", "authorization",
         r".{13}[\"']?[ \t]*[:=][ \t]*[\"']?(?:[Bb]asic|[Dd]igest|[Tt]oken|[Bb]earer)[ \t]+[A-Za-z0-9+/_=.-]{12,}"),
        ("Basic Authorization", "basic ",
         r".{6}(?=[A-Za-z+/]*\d|[A-Z]*[a-z]+[A-Z])(?:[A-Za-z0-9+/]{4}){2,100}[A-Za-z0-9+/]{2}[A-Za-z0-9+/=]{2}(?![A-Za-z0-9_=+/])"),
        ("Password in .netrc", "login", r"login\s+\S{1,200}\s+(?:account\s+\S{1,200}\s+)?password\s+(?![$<{])[^\s\0]{3,}"),
        ("Docker Authorization", '"auth"', r".{6}\s*:\s*\"[A-Za-z0-9+/]{8,}={0,2}\""),
        ("Kubernetes Key", "client-key-data", r".{15}[\"']?\s*:\s*[\"']?[A-Za-z0-9+/]{40,}"),
        ("Kaggle Key", '"username"', r".{10}\s*:\s*\"[^\"\0]+\"\s*,\s*\"key\"\s*:\s*\"[a-f0-9]{32}\""),
        ("Connection String", "password=", r".{9}(?<=;.{9})(?![$<{*%])[^;\s\0\"'(){}]{4,128}(?=[;\"'\s\0]|\Z)"),
        ("Connection String", "password=", r".{9}(?![$<{*%])[^;\s\0\"'(){}]{4,128};\s*[A-Za-z ]+="),
        ("Connection String", "pwd=", r".{4}(?<=;.{4})(?![$<{*%])[^;\s\0\"'(){}]{4,128}(?=[;\"'\s\0]|\Z)"),
    ]
]  # fmt: skip
"""Kind, the word (in small letters) that gives it away, and the form that begins there."""

_PGPASS = re.compile(r":\d{4,5}:[^:\s\0]{1,63}:[^:\s\0]{1,63}:(?![$<{])[^:/\s\0\"'`]{6,}(?=[\s\0]|\Z)")
_NAMES = [b"passw", b"pwd", b"passphrase", b"_pass", b"secret", b"token", b"credential", b"key", b"_auth", b"contrase"]
_NAME_BEFORE = re.compile(r"[A-Za-z0-9_.-]*\Z")
_ASSIGNED = re.compile(
    r"""([A-Za-z0-9_.-]{0,40})["']?\]?[ \t]*(?:=>|:=|=|:|>)[ \t]*["']?([^\s"'`<>(){}\[\],;&\0\\]{8,512})(?=["'\s,;}&<\0\\]|\Z)"""
)
_SUSPICIOUS = re.compile(
    r"passw|passwd|pwd|passphrase|_pass(?![a-z])|secret|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|priv_?key|client_?key"
    r"|service_?key|account_?key|db_?key|db_?pass|credential|contrase",
    re.IGNORECASE,
)
_LONGER = re.compile(r"(?i:token|authorization|bearer)|[A-Z0-9_]*_(?:KEY|AUTH)\Z")
"""Names that speak of a secret only where the text is long: there are other keys and tokens."""

_HARMLESS = re.compile(
    r"(?:name|names|id|ids|file|path|dir|type|url|uri|count|size|len|length|limit|column|columns|field|hint|label|env|version|model"
    r"|expir[a-z]*|ttl|prefix|suffix|format|policy|arn|algorithm|regex|pattern|template|created_at|updated_at)\Z|tokeniz",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"[A-Z]+(?:_[A-Z0-9]+)+\Z")
_SHORTEST, _LONGEST_PASSWORD, _LONG_ENOUGH = 8, 512, 20


_BY_BEGINNING: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _kind, _beginnings, _form in _AT_RUNS:
    for _two in dict.fromkeys(beginning[:2] for beginning in _beginnings):
        _BY_BEGINNING.setdefault(_two, []).append((_kind, _form))
_BY_WORD: dict[bytes, list[tuple[str, re.Pattern[str]]]] = {}
for _kind, _word, _form in _AT_WORDS:
    _BY_WORD.setdefault(_word.encode(), []).append((_kind, _form))


def forms_in(text: str) -> Iterator[Found]:
    """Every credential in a text, by its form or by the name that it is assigned to."""
    if len(text) < _SHORTEST:
        return
    raw = text.encode("latin-1", "replace")  # one byte for each character: places are the same in both
    yield from _at_runs(text, raw.translate(_RUNS))
    small = raw.lower()
    for word, forms in _BY_WORD.items():
        for at in _places(small, word):
            yield from (Found(kind, match[0]) for kind, form in forms if (match := form.match(text, at)))
    for word in _NAMES:
        for at in _places(small, word):
            if (found := _assigned_at(text, at)) is not None:
                yield found
    yield from (Found("Password in .pgpass", match[0]) for match in _PGPASS.finditer(text))


def _places(raw: bytes, word: bytes) -> list[int]:
    found: list[int] = []
    at = raw.find(word)
    while at >= 0:
        found.append(at)
        at = raw.find(word, at + len(word))
    return found


def _at_runs(text: str, runs: bytes) -> Iterator[Found]:
    start = runs.find(_LEAST_RUN)
    while start >= 0:
        before = text[start - 1 : start]
        forms = _BY_BEGINNING.get(text[start : start + 2], ())
        yield from (Found(kind, match[0]) for kind, form in forms if (match := form.match(text, start)))
        if before == "\x8c":  # in a pickle the length of a text stands before it, which may look like a letter of it
            forms = _BY_BEGINNING.get(text[start + 1 : start + 3], ())
            yield from (Found(kind, match[0]) for kind, form in forms if (match := form.match(text, start + 1)))
        elif before in (".", "~", ":"):
            yield from (Found(kind, match[0]) for kind, form in _AFTER if (match := form.match(text, start)))
        if text[start + 32 : start + 35] == "-us" and (match := _MAILCHIMP.match(text, start)):
            yield Found("Mailchimp Key", match[0])
        end = runs.find(b" ", start)
        start = runs.find(_LEAST_RUN, end) if end >= 0 else -1


def _assigned_at(text: str, at: int) -> Found | None:
    match = _ASSIGNED.match(text, at)
    if match is None:
        return None
    before = _NAME_BEFORE.search(text, max(0, at - 40), at)
    kind = kind_by_name((before[0] if before else "") + match[1], match[2])
    return Found(kind, match[2]) if kind else None


def kind_of_secret(text: str) -> str | None:
    """What kind of credential is in a text, or None."""
    found = next(forms_in(text), None)
    return found.kind if found is not None else None


def kind_by_name(name: str, text: str) -> str | None:
    """What a text is because of the name that it goes by (``db_password``); None for words, paths and blanks."""
    sort = _sort_of_name(name)
    if sort is None or not is_random(text) or _VARIABLE.match(text):
        return None
    return "Secret Keyword" if sort or len(text) >= _LONG_ENOUGH else None


@lru_cache(maxsize=8192)
def _sort_of_name(name: str) -> bool | None:
    """Whether a name speaks of secrets: True for a short text as well, False for a long one alone, None if not."""
    if len(name) > _LONGEST_PASSWORD or _HARMLESS.search(name):
        return None
    return True if _SUSPICIOUS.search(name) else False if _LONGER.search(name) else None


def is_random(text: str) -> bool:
    """Whether somebody might have thought of it as a password: no blanks, not a single word, not a path."""
    if not _SHORTEST <= len(text) <= _LONGEST_PASSWORD or text.startswith(
        ("/", "./", "~", "<", "{", "$", "http://", "https://", "s3://")
    ):
        return False
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text) and not any(c.isspace() for c in text)
