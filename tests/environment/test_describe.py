"""From installed distributions to a lock: what is found, where it comes from, and what the lock never holds."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from cellferry.environment.asked import recall, remember
from cellferry.environment.describe import conda_requirements, lock_file, lock_found
from cellferry.environment.found import wanted
from cellferry.environment.installed import take_inventory
from cellferry.environment.lock import Lock, Target, Unsolved, named_by, read_lock
from cellferry.environment.sources import Sources, read_sources
from cellferry.environment.uv import run_uv, without_credentials
from cellferry.environment.wheels import wheel_of
from cellferry.errors import BadValue, EnvironmentFailed

from .wheelhouse import Index, install_by_hand, make_wheel, serving

TARGET = Target("3.11")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLFERRY_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages with a library, what it needs, and one of each kind of install."""
    site, made = tmp_path / "site", tmp_path / "made"
    site.mkdir()
    install_by_hand(
        site,
        make_wheel(
            made,
            "lib_a",
            "1.0",
            {"lib_a/__init__.py": "", "lib_a/core.py": ""},
            ["lib-b>=1", "not-here; extra == 'more'"],
        ),
    )
    install_by_hand(site, make_wheel(made, "lib_b", "1.5", {"lib_b.py": ""}))
    install_by_hand(
        site, make_wheel(made, "from_git", "0.3", {"from_git.py": "VALUE = 3"}, ["lib-b"]),
        direct_url_json=json.dumps({"url": "https://me:word@git.example/x.git", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}),
    )  # fmt: skip
    install_by_hand(site, make_wheel(made, "of_conda", "2.0", {"of_conda.py": ""}), INSTALLER="conda\n")
    for half in ("one", "two"):
        install_by_hand(site, make_wheel(made, f"ns_{half}", "1", {f"shared/{half}/__init__.py": ""}))
    return site


@pytest.fixture
def index(tmp_path: Path):
    root = tmp_path / "index"
    make_wheel(root / "lib-a", "lib_a", "1.0", {"lib_a/__init__.py": ""}, ["lib-b>=1"])
    make_wheel(root / "lib-b", "lib_b", "1.5", {"lib_b.py": ""})
    make_wheel(root / "lib-b", "lib_b", "1.6", {"lib_b.py": ""})
    with serving(root, "me", "s3cr3t-word") as index:
        yield index


def sources_of(index: Index) -> Sources:
    return read_sources({"PIP_INDEX_URL": index.full_url}, files=())


def test_modules_lead_to_distributions(site: Path) -> None:
    inventory = take_inventory([str(site)])
    found = wanted(["lib_a.core", "os.path", "cellferry.journey", "__main__", "mine", "shared.two.inner"], inventory)
    assert found.dists == ("lib-a", "ns-two") and found.unknown == ("mine",)
    assert set(wanted(["shared"], inventory).dists) == {"ns-one", "ns-two"}
    assert inventory.closure(["lib_a"]) == {"lib-a", "lib-b"}


def test_where_they_came_from(site: Path) -> None:
    dists = take_inventory([str(site)]).dists
    assert dists["from-git"].origin.kind == "vcs" and dists["from-git"].origin.url == "git+https://git.example/x.git"
    assert dists["of-conda"].origin.kind == "conda" and dists["lib-a"].origin.kind == "index"


def test_a_lock_pins_what_is_here_and_holds_no_credentials(site: Path, index: Index, tmp_path: Path) -> None:
    described = lock_found(["lib-a", "from-git"], take_inventory([str(site)]), TARGET, sources_of(index))
    lock = described.lock
    assert lock.versions == {"lib-a": "1.0", "lib-b": "1.5", "from-git": "0.3"} and not described.notes
    assert index.refused or index.served
    assert "s3cr3t" not in lock.text and "me:" not in lock.text and index.url in lock.text
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert kept and not any(b"s3cr3t" in p.read_bytes() for p in kept)
    assert [p.name for p in lock.packages if p.sent] == ["from-git"]
    entry = next(p for p in tomllib.loads(lock.text)["packages"] if p["name"] == "from-git")
    assert entry["archive"]["path"] in lock.files and entry["archive"]["hashes"]["sha256"]


def test_the_same_lock_is_not_resolved_twice(site: Path, index: Index) -> None:
    first = lock_found(["lib-a"], take_inventory([str(site)]), TARGET, sources_of(index)).lock
    index.served.clear()
    again = lock_found(["lib-a"], take_inventory([str(site)]), TARGET, sources_of(index)).lock
    assert again.key == first.key and not index.served
    assert Lock(first.text, first.packages, "3.12").key != first.key


def test_what_conda_has_and_pypi_not_is_left_out_and_named(site: Path, index: Index) -> None:
    described = lock_found(["lib-a", "of-conda"], take_inventory([str(site)]), TARGET, sources_of(index))
    assert "of-conda" not in described.lock.versions and "of-conda" in described.notes[0]


def test_what_no_index_has_is_put_together_from_its_files(site: Path, index: Index, tmp_path: Path) -> None:
    install_by_hand(site, make_wheel(tmp_path / "made", "unpublished", "9", {"unpublished/__init__.py": "X = 9"}))
    lock = lock_found(["unpublished"], take_inventory([str(site)]), TARGET, sources_of(index)).lock
    assert lock.packages[0].sent and lock.versions == {"unpublished": "9"}
    target = tmp_path / "target"
    outcome = run_uv(["pip", "install", "-q", "--no-deps", "--target", str(target), str(*lock.files.values())])
    assert outcome.ok, outcome.err
    assert (target / "unpublished/__init__.py").read_text() == "X = 9"


def test_no_solution_is_said_before_anything_else_happens(site: Path, index: Index, tmp_path: Path) -> None:
    install_by_hand(site, make_wheel(tmp_path / "made", "lib_c", "1", {"lib_c.py": ""}, ["lib-b>=7"]))
    with pytest.raises(Unsolved, match="lib-b"):
        lock_found(["lib-c"], take_inventory([str(site)]), TARGET, sources_of(index))


def test_a_build_for_this_machine_only_is_named_for_another(site: Path, index: Index, tmp_path: Path) -> None:
    tag = "cp311-cp311-linux_x86_64"
    install_by_hand(
        site, make_wheel(tmp_path / "made", "compiled", "1", {"compiled.py": ""}, tag=tag),
        direct_url_json=json.dumps({"url": "file:///src/compiled", "dir_info": {}}),
    )  # fmt: skip
    inventory = take_inventory([str(site)])
    assert lock_found(["compiled"], inventory, TARGET, sources_of(index)).lock.versions == {"compiled": "1"}
    with pytest.raises(EnvironmentFailed, match=r"compiled 1 has no build for the worker \(aarch64-apple-darwin\)"):
        lock_found(["compiled"], inventory, Target("3.11", "aarch64-apple-darwin"), sources_of(index))


def test_an_editable_install_is_built(tmp_path: Path, index: Index) -> None:
    project = tmp_path / "project"
    (project / "src" / "editable_one").mkdir(parents=True)
    (project / "src" / "editable_one" / "__init__.py").write_text("X = 1")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "editable-one"\nversion = "0.1"\ndependencies = ["lib-b"]\n'
    )
    site = tmp_path / "site"
    info = site / "editable_one-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: editable-one\nVersion: 0.1\nRequires-Dist: lib-b\n")
    (info / "direct_url.json").write_text(json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}}))
    inventory = take_inventory([str(site)])
    assert wanted(["editable_one"], inventory).dists == ("editable-one",)
    wheel = wheel_of(
        inventory.dists["editable-one"],
        tmp_path / "wheels",
        read_sources({"PIP_EXTRA_INDEX_URL": index.full_url}, files=()),
    )
    assert wheel.name == "editable_one-0.1-py2.py3-none-any.whl"
    assert (
        wheel_of(
            inventory.dists["editable-one"],
            tmp_path / "wheels",
            read_sources({"PIP_EXTRA_INDEX_URL": index.full_url}, files=()),
        )
        == wheel
    )
    lock = lock_found(
        ["editable-one"], inventory, TARGET, read_sources({"PIP_EXTRA_INDEX_URL": index.full_url}, files=())
    ).lock
    assert lock.versions["editable-one"] == "0.1" and "lib-b" in lock.versions


def test_files_that_describe_an_environment(index: Index, tmp_path: Path) -> None:
    sources = sources_of(index)
    (tmp_path / "requirements.txt").write_text("lib-a\nlib-b==1.6\n")
    lock = lock_file(tmp_path / "requirements.txt", TARGET, sources).lock
    assert lock.versions == {"lib-a": "1.0", "lib-b": "1.6"}
    (tmp_path / "pylock.toml").write_text(lock.text)
    assert lock_file(tmp_path / "pylock.toml", TARGET, sources).lock.key == lock.key
    (tmp_path / "environment.yml").write_text(
        "dependencies:\n- python=3.11\n- lib-b=1.5\n- only-conda\n- pip:\n  - lib-a\n"
    )
    described = lock_file(tmp_path / "environment.yml", TARGET, sources)
    assert described.lock.versions == {"lib-a": "1.0", "lib-b": "1.5"} and "only-conda" in described.notes[0]
    for name, text in (("nothing.txt", None), ("strange.ini", "x")):
        if text:
            (tmp_path / name).write_text(text)
        with pytest.raises(BadValue):
            lock_file(tmp_path / name, TARGET, sources)


def test_a_uv_project(index: Index, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["lib-a"]\n'
        f'[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
    )
    made = run_uv(["lock", "--project", str(tmp_path)], credentials={"127.0.0.1": ("me", "s3cr3t-word")})
    assert made.ok, made.err
    lock = lock_file(tmp_path / "uv.lock", TARGET, sources_of(index)).lock
    assert lock.versions == {"lib-a": "1.0", "lib-b": "1.6"}


def test_conda_lines() -> None:
    lines, names = conda_requirements(
        "dependencies: [python=3.11, 'conda-forge::numpy=1.26=py311_0', 'scipy>=1.9', pandas, pip]"
    )
    assert lines == ["numpy==1.26.*", "scipy>=1.9", "pandas"] and names == {"numpy", "scipy", "pandas"}
    with pytest.raises(EnvironmentFailed, match=r"environment\.yml"):
        conda_requirements("channels: [x]")


def test_sources_of_pip_and_uv(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text(
        "[global]\nindex-url = https://u:p%40ss@one.example/simple\nextra-index-url = https://two.example/simple\n"
    )
    found = read_sources({}, files=[conf])
    assert found.default == "https://one.example/simple" and found.more == ("https://two.example/simple",)
    assert found.credentials == {"one.example": ("u", "p@ss")} and "p@ss" not in repr(found)
    found = read_sources(
        {"PIP_INDEX_URL": "https://three.example", "UV_INDEX": "corp=https://a:b@four.example/x"}, files=[conf]
    )
    assert found.default == "https://three.example" and found.more == ("https://four.example/x",)
    assert found.arguments()[:4] == ["--default-index", "https://three.example", "--index", "https://four.example/x"]


def test_texts_that_are_no_lock(tmp_path: Path) -> None:
    for text in ("", "x = ", "packages = 3", '[[packages]]\nname = "x"\narchive = {path = "gone.whl"}\n'):
        with pytest.raises(EnvironmentFailed):
            read_lock(text, tmp_path, "3.11", Sources())


def test_words_of_the_solver() -> None:
    said = (
        "error: No solution\n  cause: Because lib-x was not found in the package\n  registry and you require lib-x==1"
    )
    assert named_by(said, {"lib-x", "lib", "x"}) == {"lib-x"}
    assert named_by("Because there is no version of lib-y==2 and", {"lib-y"}) == {"lib-y"}


@pytest.mark.parametrize("url", ["https://h/x", "https://u@h/x", "https://u:p@h:81/x?q=1"])
def test_credentials_are_taken_out_of_urls(url: str) -> None:
    bare, found = without_credentials(url)
    assert "@" not in bare and (found is None) == ("@" not in url)


def test_what_is_needed_there_and_not_installed_here(site: Path, index: Index, tmp_path: Path) -> None:
    make_wheel(tmp_path / "index" / "s3fs", "s3fs", "1", {"s3fs.py": ""}, ["lib-b"])
    lock = lock_found(["lib-a"], take_inventory([str(site)]), TARGET, sources_of(index), ["s3fs"]).lock
    assert lock.versions == {"lib-a": "1.0", "lib-b": "1.5", "s3fs": "1"}


def test_what_was_asked_for_is_recalled_step_by_step(tmp_path: Path) -> None:
    remember(tmp_path, {"a"}, {"b"})
    remember(tmp_path, {"b", "a"}, {"c"})
    assert recall(tmp_path, ["a"]) == {"a", "b", "c"} and recall(tmp_path, ["c"]) == {"c"}
