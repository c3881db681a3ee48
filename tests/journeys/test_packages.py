"""A worker that has none of the notebook's packages: they are found, locked, made there, and grown while it lives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from environment.wheelhouse import Index, make_wheel, serving

from .conftest import User, is_worker, worker_folder
from .kernel import kernel

pytestmark = pytest.mark.slow

PASSWORD = "pa55-of-the-index"
C_EXTENSION = """
#include <Python.h>
static PyObject *twice(PyObject *self, PyObject *arg) { return PyLong_FromLong(2 * PyLong_AsLong(arg)); }
static PyMethodDef methods[] = {{"twice", twice, METH_O, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "c_ext", "", -1, methods};
PyMODINIT_FUNC PyInit_c_ext(void) { return PyModule_Create(&module); }
"""


@dataclass(frozen=True)
class Place:
    """A notebook's environment with packages of every kind, and where everything of its workers lies."""

    python: Path
    cache: Path
    index: Index
    editable: Path
    settings: dict[str, str]


def run(*args: object, cwd: Path | None = None, tmp: Path | None = None) -> None:
    env = {**os.environ, **({"TMPDIR": str(tmp)} if tmp else {})}  # uv leaves locks of setuptools there
    done = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr


def another_python() -> tuple[str, str]:
    """Minor version and path of a Python here that is not the one that runs the tests."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    made = os.environ.get("CELLFERRY_PYTHONS") or Path("~/.cache/cellferry/pythons").expanduser()  # by `make pythons`
    for minor in ("3.14", "3.15", "3.12", "3.13", "3.11"):
        found = shutil.which(f"python{minor}")  # pyenv's own names are scripts that fail where no version is chosen
        managed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{minor}.*/bin/python"))
        for python in [*managed, *([Path(found)] if found else []), Path(made, "bin", f"python{minor}")]:
            if minor != here and python.exists() and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
                return minor, str(python)
    raise AssertionError("this test needs a second Python: `make pythons PYTHONS=3.14` makes one")


def project(folder: Path, name: str, code: str, version: str = "0.1") -> Path:
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=70"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\n[tool.setuptools]\npy-modules = ["{name}"]\n'
    )
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An environment on top of the one that runs the tests: editable, from git, from a private index, compiled here."""
    base = tmp_path_factory.mktemp("packages")
    uv = Path(sys.executable).parent / "uv"
    venv = base / "venv"
    run(uv, "venv", "-q", "--python", sys.executable, venv)
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "below.pth").write_text(
        f"import site; site.addsitedir({next(p for p in sys.path if p.endswith('site-packages'))!r})\n"
    )
    editable = project(base / "edited", "of_editable", "VERSION = 1\n\ndef where():\n    return __file__\n")
    repository = project(base / "repository", "of_git", "KIND = 'git'\n")
    for words in (
        ("init", "-q"),
        ("add", "."),
        ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first"),
    ):
        run("git", *words, cwd=repository)
    compiled = base / "compiled"
    compiled.mkdir()
    (compiled / "c_ext.c").write_text(C_EXTENSION)
    (compiled / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=70"]\nbuild-backend = "setuptools.build_meta"\n'
    )
    (compiled / "setup.py").write_text(
        "from setuptools import Extension, setup\nsetup(name='c-ext', version='1', ext_modules=[Extension('c_ext', ['c_ext.c'])])\n"
    )
    make_wheel(base / "index" / "of-index", "of_index", "1.2", {"of_index.py": "KIND = 'private index'"})
    make_wheel(base / "index" / "late", "late", "1", {"late.py": "KIND = 'late'"})
    with serving(base / "index", "me", PASSWORD) as index:
        install = (uv, "pip", "install", "-q", "--python", venv / "bin" / "python")
        run(*install, "-e", editable, f"git+{repository.as_uri()}", compiled, tmp=base)
        run(*install, "--no-deps", "--index", index.full_url, "of-index==1.2", "late==1")
        spec = base / "share" / "kernels" / "packages"
        spec.mkdir(parents=True)
        argv = [str(venv / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "p", "language": "python"}))
        settings = {
            "CELLFERRY_CACHE_DIR": str(base / "cache"),
            "CELLFERRY_WORKER_DIR": str(base / "w") if len(str(base)) < 60 else "",
            "PIP_EXTRA_INDEX_URL": f"{os.environ.get('PIP_EXTRA_INDEX_URL', '')} {index.full_url}".strip(),
        }
        yield Place(venv / "bin" / "python", base / "cache", index, editable, settings)


@pytest.fixture
def new_user(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUPYTER_PATH", str(place.python.parents[2] / "share"))
    with ExitStack() as stack:

        def make(**settings: str) -> User:
            folder = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return User(stack.enter_context(kernel(folder, {**place.settings, **settings}, "packages")), folder)

        yield make


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_packages_of_every_kind(new_user, place: Place, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport, CELLFERRY_ENV="auto")
    assert (
        user.sees("%%remote\nimport sys\nprint('numpy' in sys.modules, sys.prefix)")
        .split()[1]
        .startswith(str(place.cache))
    )
    shown = user.sees(
        "%%remote\nimport c_ext, of_editable, of_git, of_index\nfrom importlib.metadata import version\n"
        "print(c_ext.twice(21), of_editable.VERSION, of_git.KIND, of_index.KIND, version('of_editable'))"
    )
    assert shown == "42 1 git private index 0.1\n"
    assert user.sees("%%remote\nprint(c_ext.__file__)").startswith(str(place.cache))
    missing = user.sees("%%remote\ntry:\n    import nowhere_at_all\nexcept ImportError as error:\n    print(error)")
    assert missing == "No module named 'nowhere_at_all'\n"


def test_values_bring_the_libraries_that_they_need(new_user, place: Place) -> None:
    """Neither cell imports scikit-learn or pandas: the values that it is given do."""
    user = new_user(CELLFERRY_ENV="auto")
    user.sees(
        "import numpy as np, pandas as pd\nfrom sklearn.linear_model import LinearRegression\n"
        "frame = pd.DataFrame({'x': np.arange(4.0)})\nmodel = LinearRegression()"
    )
    assert user.sees("%%remote\nmodel.fit(frame[['x']], frame['x'] * 2)\nprint(round(model.coef_[0], 3))") == "2.0\n"
    assert user.sees("print(round(model.coef_[0], 3))") == "2.0\n"
    figure = user.types("%%remote\nimport matplotlib.pyplot as plt\n%matplotlib inline\nplt.plot([1, 2]);")
    assert any("image/png" in output.get("data", {}) for output in figure.outputs), figure.outputs


def test_a_cell_that_imports_more_keeps_the_kernel_and_its_variables(new_user, place: Place) -> None:
    user = new_user(CELLFERRY_ENV="auto")
    first = user.sees("%%remote returns=\nimport os\nheld = {'a': 1}\nprint(os.getpid())")
    assert (
        user.sees("%%remote returns=\nimport late\nprint(os.getpid(), held, late.KIND)")
        == f"{first.strip()} {{'a': 1}} late\n"
    )
    # a name that nobody can read in the cell, found while it runs
    assert (
        user.sees(
            "%%remote returns=\nimport importlib\nprint(importlib.import_module('of_' + 'git').KIND, os.getpid())"
        )
        == f"git {first}"
    )


def test_an_edit_of_an_editable_package_is_there_in_the_next_cell(new_user, place: Place) -> None:
    user = new_user(CELLFERRY_ENV="auto")
    assert user.sees("%%remote\nimport of_editable\nprint(of_editable.VERSION)") == "1\n"
    source = place.editable / "of_editable.py"
    before = source.read_text()
    try:
        source.write_text(before.replace("VERSION = 1", "VERSION = 2"))
        assert user.sees("%%remote\nimport of_editable\nprint(of_editable.VERSION)") == "2\n"
    finally:
        source.write_text(before)


@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_the_password_of_an_index_is_nowhere_on_the_worker(new_user, place: Place, meeting, transport: str) -> None:
    user = new_user(CELLFERRY_LOCAL_TRANSPORT=transport, CELLFERRY_ENV="auto")
    seen: list[bytes] = []

    def look(pid: int) -> None:
        for process in [p for p in [psutil.Process(pid), *psutil.Process(pid).parents()] if is_worker(p)]:
            seen.append(Path(f"/proc/{process.pid}/cmdline").read_bytes())
        for root in (worker_folder(pid), place.cache):
            seen.extend(p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".whl")

    at = meeting(look)
    user.sees(f"%%remote\nimport of_index\n{at.cell}")
    assert seen and not any(PASSWORD.encode() in data for data in seen)
    assert "of_index" in " ".join(place.index.served)


def test_a_file_says_what_the_worker_has(new_user, place: Place) -> None:
    user = new_user()
    (user.folder / "requirements.txt").write_text("of-index\n")
    assert user.sees("%%remote env=requirements.txt\nimport of_index\nprint(of_index.KIND)") == "private index\n"
    name, text = user.is_told("%%remote env=requirements.txt\nimport of_git")
    assert name == "ModuleNotFoundError" and "of_git" in text
    name, text = user.is_told("%%remote name=default env=full\n1")
    assert name == "RequestError" and "env=requirements.txt" in text and "%remote down default" in text
    name, text = user.is_told("%%remote env=no-such.txt\n1")
    assert name == "BadValue" and "->" in text


def test_an_interpreter_that_was_there_before(new_user, place: Place, tmp_path: Path) -> None:
    """Without ipykernel or cellferry in it; what it lacks is named."""
    venv = tmp_path / "there"
    uv = Path(sys.executable).parent / "uv"
    run(uv, "venv", "-q", "--python", sys.executable, venv)
    user = new_user()
    word = f"env=python:{venv}/bin/python"
    assert user.sees(f"%%remote {word}\nimport sys\ny = 6 * 7\nprint(sys.prefix)") == f"{venv}\n"
    assert user.has("y") == 42
    seen = user.types(f"%%remote {word}\nimport of_index")
    assert seen.outputs[-1]["ename"] == "ModuleNotFoundError"
    assert not list(venv.glob("lib/python*/site-packages/*.dist-info"))
    name, text = user.is_told("%%remote env=python:/no/such/python name=other\n1")
    assert name == "WorkerStartError" and "/no/such/python" in text and "->" in text


def test_packages_that_the_kernel_cannot_live_with_are_named(new_user, place: Place, tmp_path: Path) -> None:
    old = make_wheel(tmp_path / "wheels", "ipykernel", "5.0", {"ipykernel/__init__.py": ""})
    user = new_user()
    (user.folder / "requirements.txt").write_text(f"ipykernel @ {old.as_uri()}\n")
    name, text = user.is_told("%%remote env=requirements.txt\n1")
    assert name == "EnvironmentFailed" and "ipykernel 5.0" in text and "->" in text and not user.workers()
    venv, uv = tmp_path / "there", Path(sys.executable).parent / "uv"
    run(uv, "venv", "-q", "--python", sys.executable, venv)
    run(uv, "pip", "install", "-q", "--no-deps", "--python", venv / "bin" / "python", old)
    name, text = user.is_told(f"%%remote env=python:{venv}/bin/python\n1")
    assert name == "WorkerStartError" and "ipykernel 5.0" in text and "install --upgrade ipykernel" in text


def test_an_interpreter_of_another_minor_version(new_user, place: Place) -> None:
    """Functions and classes of the notebook travel as source, both ways; nobody is shown a crash."""
    minor, python = another_python()
    user = new_user()
    user.sees(
        "base = 10\n\ndef outer(n):\n    def inner(x=[1]):\n        return n + base + sum(x)\n    return inner\n\n"
        "class Thing:\n    def __init__(self, v): self.v = v\n    def twice(self): return [2 * i for i in (self.v,)]\n\n"
        "add, thing, square = outer(5), Thing(4), lambda v: v * v\n"
        "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\n    above: 'Point | None' = None\n"
        "    def up(self, by: int) -> 'Point': return Point(self.x + by, self)\n"
        "point = Point(1)"
    )
    word = f"env=python:{python}"
    text = user.sees(
        f"%%remote {word}\nimport sys\nprint('%d.%d' % sys.version_info[:2], add(), thing.twice(), square(3))\n"
        "def made_there(x):\n    return f'{x} from {base}'\nthing.v = 8"
    )
    assert (
        f"{minor} 16 [8] 9" in text
        and f"Python {sys.version_info[0]}.{sys.version_info[1]} here, {minor} on the worker" in text
    )
    assert user.sees("print(made_there('x'), thing.twice())") == "x from 10 [16]\n"
    user.sees(
        f"%%remote {word}\nhigher = point.up(2)\npoint.x = 5\nclass Made:\n    size: int = 3\n"
        "shown = repr((Point.__annotations__, Made.__annotations__))"
    )
    assert user.has("(higher.x, higher.above is point, point.x, type(higher) is Point)") == (3, True, 5, True)
    annotated = "({'x': <class 'int'>, 'above': 'Point | None'}, {'size': <class 'int'>})"
    assert user.has("shown") == user.has("repr((Point.__annotations__, Made.__annotations__))") == annotated
    user.sees("exec('def unknown(): pass')")
    name, text = user.is_told(f"%%remote {word}\nunknown()")
    assert name == "CannotTravel" and "source is not known" in text and "->" in text


def test_a_package_that_cannot_be_had_is_said_before_a_worker_is_asked_for(new_user, place: Place) -> None:
    user = new_user()
    (user.folder / "requirements.txt").write_text("of-index==99\n")
    name, text = user.is_told("%%remote env=requirements.txt\n1")
    assert name == "Unsolved" and "of-index" in text and "->" in text
    assert not user.workers() and PASSWORD not in text


def test_a_url_brings_what_fsspec_needs_for_it(new_user, place: Place) -> None:
    """``s3fs`` is nowhere in the notebook's environment as a module that is imported; the protocol asks for it."""
    user = new_user(CELLFERRY_ENV="auto")
    shown = user.sees("%%remote estimate\nimport fsspec\nfsspec.open('s3://bucket/data.csv')")
    assert "s3fs" in shown and "fsspec" in shown
    user.sees("def read():\n    import fsspec\n    return fsspec.get_filesystem_class('s3').__name__\n\ndef where():\n    return 's3://b/x'")
    assert user.sees("%%remote\nwhere and print(read())") == "S3FileSystem\n"


def test_tables(new_user, place: Place) -> None:
    user = new_user(CELLFERRY_ENV="auto")
    shown = user.sees("%%remote estimate\nimport of_index, numpy")
    assert "to be installed on the worker: 2 packages" in shown and "numpy" in shown and "MiB" in shown
    assert not user.workers()
    user.sees("%%remote\nimport of_index")
    table = user.sees("%remote env")
    assert "of-index" in table and "1.2" in table
    assert user.has("[(r.name, r.here, r.there) for r in get_ipython().run_line_magic('remote', 'env')]") == [
        ("of-index", "1.2", "1.2")
    ]


def test_no_environment_is_left_in_use(new_user, place: Place) -> None:
    user = new_user(CELLFERRY_ENV="auto")
    user.sees("%%remote\nimport of_index")
    workers = user.workers()
    user.sees("%remote down")
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    locks = list((place.cache / "environments").glob("*/lock"))
    assert locks
    for lock in locks:
        run("flock", "--nonblock", lock, "true")
