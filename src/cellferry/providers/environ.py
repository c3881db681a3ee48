"""Which environment variables a worker on this machine inherits: what describes the machine, nothing that may be secret."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_NAMES = frozenset({
    "ALL_PROXY", "AWS_CA_BUNDLE", "CC", "CFLAGS", "CI", "CLICOLOR", "COLORTERM", "CPATH", "CURL_CA_BUNDLE", "CXX",
    "DYLD_LIBRARY_PATH", "EDITOR", "FORCE_COLOR", "GDAL_DATA", "GIT_SSL_CAINFO", "HADOOP_HOME", "HOME", "HOSTNAME",
    "HTTPS_PROXY", "HTTP_PROXY", "JAVA_HOME", "LANG", "LANGUAGE", "LDFLAGS", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "LIBRARY_PATH", "LOGNAME", "NLTK_DATA", "NO_COLOR", "NO_PROXY", "PAGER", "PATH", "PKG_CONFIG_PATH", "PROJ_DATA",
    "PROJ_LIB", "REQUESTS_CA_BUNDLE", "SHELL", "SPARK_HOME", "SSL_CERT_DIR", "SSL_CERT_FILE", "TEMP", "TERM",
    "TIKTOKEN_CACHE_DIR", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV", "all_proxy", "http_proxy", "https_proxy",
    "no_proxy",
})  # fmt: skip
_BEGINNINGS = (
    "LC_", "XDG_", "PYTHON", "IPYTHON", "JUPYTER_", "CONDA_", "CELLFERRY_", "UV_", "PIP_",
    "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "NUMBA_", "BLIS_", "VECLIB_", "KMP_", "MALLOC_", "GLIBC_",
    "CUDA_", "NVIDIA_", "NCCL_", "HIP_", "ROCR_", "ROCM_", "TORCH_", "TORCHINDUCTOR_", "TRITON_", "JAX_", "XLA_", "TF_",
    "KERAS_", "HF_", "TRANSFORMERS_", "MPL", "SKLEARN_", "JOBLIB_", "RAY_", "DASK_", "POLARS_", "ARROW_", "TQDM_",
)  # fmt: skip
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|PASSPHRASE|_PWD$|AUTH", re.IGNORECASE)
_USERINFO = re.compile(r"://[^\s/@]*@")


@cache
def hash_seed() -> str:
    """The seed with which this Python hashes texts, "" if it drew one that nobody knows. From the environment that the
    process began with: what is set later changes nothing here."""
    if sys.flags.ignore_environment:
        return ""
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    seed = next((entry.partition(b"=")[2] for entry in entries if entry.startswith(b"PYTHONHASHSEED=")), b"")
    return seed.decode("ascii") if seed.isdigit() else ""


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What of ``environ`` a worker gets. A name that speaks of secrets, or a value with a user in a URL, is left out
    whatever else it is; so is everything that is not known to describe a machine or to tune a library."""
    return {
        name: text
        for name, text in environ.items()
        if _is_known(name) and not _SECRET.search(name) and not _USERINFO.search(text)
    }


def _is_known(name: str) -> bool:
    return name in _NAMES or name.startswith(_BEGINNINGS)
