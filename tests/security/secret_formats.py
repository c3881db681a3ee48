"""46 forms of keys. Each is made up when it is asked for, so that no scanner stumbles over this file."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable

LETTERS, LOWER = string.ascii_letters + string.digits, string.ascii_lowercase + string.digits
UPPER, HEX, DIGITS = string.ascii_uppercase + string.digits, "0123456789abcdef", string.digits


class Maker:
    """Makes texts as services do, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, length: int, alphabet: str = LETTERS) -> str:
        made = self._random.choices(alphabet, k=length)
        for at, sort in enumerate((DIGITS, string.ascii_letters)):  # both are in every real one
            if set(sort) & set(alphabet):
                made[-2 - at] = self._random.choice([c for c in alphabet if c in sort])
        return "".join(made)

    def encoded(self, *parts: str) -> str:
        return base64.b64encode("".join(parts).encode()).decode()


def pem(of: str, r: Maker) -> str:
    return f"-----BEGIN {of}-----\n{r(64)}\n-----END {of}-----\n"


def jwt(r: Maker) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=")
        for p in ({"alg": "HS256", "typ": "JWT"}, {"sub": r(12)})
    ]
    return ".".join([*parts, r(43)])


FORMATS: dict[str, Callable[[Maker], str]] = {
    "aws_key": lambda r: "AKIA" + r(16, UPPER),
    "aws_temporary_key": lambda r: "ASIA" + r(16, UPPER),
    "aws_credentials_file": lambda r: f"[default]\nregion = eu-west-1\naws_secret_access_key = {r(40)}\n",
    "github": lambda r: "ghp_" + r(36),
    "github_app": lambda r: "ghs_" + r(36),
    "github_fine_grained": lambda r: f"github_pat_{r(22)}_{r(59)}",
    "gitlab": lambda r: "glpat-" + r(20),
    "gitlab_runner": lambda r: "glrt-" + r(20),
    "slack_bot": lambda r: f"xoxb-{r(12, DIGITS)}-{r(13, DIGITS)}-{r(24)}",
    "slack_app": lambda r: f"xapp-1-A{r(10, UPPER)}-{r(13, DIGITS)}-{r(64, HEX)}",
    "slack_webhook": lambda r: f"https://hooks.slack.com/services/T{r(8, UPPER)}/B{r(8, UPPER)}/{r(24)}",
    "discord_webhook": lambda r: f"https://discord.com/api/webhooks/{r(18, DIGITS)}/{r(68)}",
    "stripe": lambda r: "sk_live_" + r(24),
    "openai_project": lambda r: "sk-proj-" + r(48),
    "openai_service": lambda r: "sk-svcacct-" + r(48),
    "anthropic": lambda r: f"sk-ant-api03-{r(93)}AA",
    "hugging_face": lambda r: "hf_" + r(34),
    "google": lambda r: "AIza" + r(35),
    "google_oauth": lambda r: "GOCSPX-" + r(28),
    "google_service_account": lambda r: json.dumps({"type": "service_account", "private_key": pem("PRIVATE KEY", r)}),
    "jwt": jwt,
    "pypi": lambda r: "pypi-AgEIcHlwaS5vcmc" + r(80),
    "npm": lambda r: "npm_" + r(36),
    "docker_hub": lambda r: "dckr_pat_" + r(27),
    "docker_config": lambda r: json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": r.encoded("me:", r(12))}}}),
    "sendgrid": lambda r: f"SG.{r(22)}.{r(43)}",
    "azure_storage": lambda r: f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={r(86)}==;EndpointSuffix=core.windows.net",
    "azure_sas": lambda r: f"https://a.blob.core.windows.net/c?sv=2024-11-04&se=2027-01-01&sr=c&sp=r&sig={r(43)}%3D",
    "telegram": lambda r: f"{r(10, DIGITS)}:{r(35)}",
    "private_key": lambda r: pem("OPENSSH PRIVATE KEY", r),
    "postgres": lambda r: f"postgresql://scott:{r(10)}@db.example/main",
    "redis_without_user": lambda r: f"redis://:{r(8)}@cache.example:6379/0",
    "index_with_token": lambda r: f"https://{r(40)}@packages.example/simple",
    "connection_string": lambda r: f"Server=db.example;Database=main;User Id=sa;Password={r(10)}!;Encrypt=True",
    "env_file": lambda r: f"# settings\nexport DEBUG=1\nDATABASE_HOST=db\nMISTRAL_API_KEY={r(32)}\n",
    "kubeconfig": lambda r: f"users:\n- name: admin\n  user:\n    client-key-data: {r.encoded(pem('RSA PRIVATE KEY', r))}\n",
    "netrc": lambda r: f"machine api.example.org\n  login me\n  password {r(9)}\n",
    "pgpass": lambda r: f"db.example:5432:main:scott:{r(12)}\n",
    "bearer": lambda r: f"Authorization: Bearer {r(40)}",
    "basic": lambda r: f"Authorization: Basic {r.encoded('me:', r(12))}",
    "groq": lambda r: "gsk_" + r(52),
    "xai": lambda r: "xai-" + r(80),
    "openrouter": lambda r: "sk-or-v1-" + r(64, HEX),
    "databricks": lambda r: "dapi" + r(32, HEX),
    "vault": lambda r: "hvs." + r(95),
    "langsmith": lambda r: f"lsv2_pt_{r(32, HEX)}_{r(10, HEX)}",
}  # fmt: skip

MORE: dict[str, Callable[[Maker], str]] = {
    "replicate": lambda r: "r8_" + r(37),
    "perplexity": lambda r: "pplx-" + r(48),
    "together": lambda r: "tgp_v1_" + r(43),
    "tavily": lambda r: "tvly-dev-" + r(32),
    "nvidia": lambda r: "nvapi-" + r(64),
    "pinecone": lambda r: f"pcsk_{r(6)}_{r(63)}",
    "deepseek": lambda r: "sk-" + r(32, HEX),
    "digitalocean": lambda r: "dop_v1_" + r(64, HEX),
    "linear": lambda r: "lin_api_" + r(40),
    "notion": lambda r: "ntn_" + r(46),
    "shopify": lambda r: "shpat_" + r(32, HEX),
    "postman": lambda r: f"PMAK-{r(24, HEX)}-{r(34, HEX)}",
    "grafana": lambda r: f"glsa_{r(32)}_{r(8, HEX)}",
    "new_relic": lambda r: "NRAK-" + r(27, UPPER),
    "supabase": lambda r: "sbp_" + r(40, HEX),
    "airtable": lambda r: f"pat{r(14)}.{r(64, HEX)}",
    "atlassian": lambda r: f"ATATT3xFfGF0{r(180)}={r(8, UPPER)}",
    "alibaba": lambda r: "LTAI" + r(20),
    "figma": lambda r: "figd_" + r(40),
    "tailscale": lambda r: f"tskey-auth-{r(12)}-{r(32)}",
    "kaggle": lambda r: json.dumps({"username": "me", "key": r(32, HEX)}),
    "azure_client_secret": lambda r: f"{r(3)}8Q~{r(34)}",
    "mailgun": lambda r: "key-" + r(32, HEX),
    "mailchimp": lambda r: r(32, HEX) + "-us12",
    "square": lambda r: "sq0atp-" + r(22),
    "putty": lambda r: f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n{r(40)}",
    "age": lambda r: "AGE-SECRET-KEY-1" + r(58, UPPER),
    "npmrc": lambda r: f"//registry.example/:_authToken={r(36)}",
    "my_cnf": lambda r: f"[client]\nuser = me\npassword = {r(12)}\n",
    "maven": lambda r: f"<server><id>x</id><password>{r(14)}</password></server>",
    "yaml": lambda r: f"db:\n  host: x\n  db_password: {r(12)}\n",
    "toml": lambda r: f'[auth]\nclient_secret = "{r(32)}"\n',
    "presigned": lambda r: f"https://b.s3.amazonaws.com/k?X-Amz-Credential=a&X-Amz-Signature={r(64, HEX)}",
}  # fmt: skip
"""Further ones, of which nothing is promised."""
