"""The laws of the house, held by machine: who imports whom, how long a file may be, where one may print."""

import ast
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from resight.cluster.session import Session
from tests.checkout import check_out
from tests.tracing import untraced

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("cluster", "datasets", "rendering", "trainers", "tuning", "resight")
"""From the ground up: a room imports only itself and the rooms before it."""

LINE_LIMIT = 400
MAY_PRINT = {"resight/terminal.py"}


def tracked(*patterns: str) -> list[str]:
    """Files git knows or would add, links to rooms left out."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted({name for name in listed if (ROOT / name).is_file()})


def sources() -> list[str]:
    return [name for name in tracked("*.py") if name.split("/")[0] in ROOMS]


def trees() -> Iterator[tuple[str, ast.Module]]:
    for name in sources():
        yield name, ast.parse((ROOT / name).read_text(), filename=name)


def room_of(name: str) -> str:
    return name.split("/")[0]


def imported_rooms(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "resight":
                names = [f"resight.{alias.name}" for alias in node.names]
        for module in names:
            parts = module.split(".")
            if parts[0] == "resight":
                found.add(parts[1] if len(parts) > 1 and parts[1] in ROOMS else "resight")
    return found


def test_rooms_import_only_rooms_below_them() -> None:
    wrong = [
        f"{name} imports {room}"
        for name, tree in trees()
        for room in imported_rooms(tree)
        if ROOMS.index(room) > ROOMS.index(room_of(name))
    ]
    assert not wrong, wrong


def test_no_file_is_over_the_line_limit() -> None:
    lengths = {name: (ROOT / name).read_text().count("\n") for name in [*sources(), *tracked("tests/*.py")]}
    assert not {name: count for name, count in lengths.items() if count > LINE_LIMIT}


def test_only_the_terminal_prints() -> None:
    wrong: list[str] = []
    for name, tree in trees():
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        prints = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        streams = [
            node.lineno
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "stdout" and isinstance(node.value, ast.Name)
            if node.value.id == "sys"
        ]
        if name not in MAY_PRINT:
            wrong += [f"{name}:{line}" for line in prints + streams]
    assert not wrong, wrong


def test_no_star_imports() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert not wrong, wrong


def test_our_classes_inherit_at_most_one_level_of_our_own() -> None:
    bases: dict[str, set[str]] = {}
    for _, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
                bases.setdefault(node.name, set()).update(names)

    def depth(name: str) -> int:
        ours = [base for base in bases.get(name, ()) if base in bases]
        return 1 + max(map(depth, ours)) if ours else 0

    assert not {name: depth(name) for name in bases if depth(name) > 1}


def test_forbidden_names() -> None:
    files = [name for name in sources() if Path(name).stem in {"utils", "util", "misc", "helpers", "common"}]
    classes = [
        f"{name}: {node.name}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and (node.name.startswith("Base") or node.name.endswith("Manager"))
    ]
    assert not files + classes


def test_links_match_the_rooms() -> None:
    links = {path.name: os.readlink(path) for path in (ROOT / "resight").iterdir() if path.is_symlink()}
    assert links == {room: f"../{room}" for room in ROOMS if room != "resight"}


def test_no_room_is_a_package_of_its_own() -> None:
    """PEP 420: without `__init__.py` another package of the same name wins, so we shadow nobody's `datasets`."""
    assert not [room for room in ROOMS[:-1] if (ROOT / room / "__init__.py").exists()]


def test_every_file_of_methods_and_data_names_its_source() -> None:
    folders = ("trainers/methods/", "trainers/losses/", "datasets/readers/")
    files = [name for name in sources() if name.startswith(folders) and not name.endswith("__init__.py")]
    missing = [
        name for name in files if "Source" not in (ast.get_docstring(ast.parse((ROOT / name).read_text())) or "")
    ]
    assert not missing, missing


def test_every_module_says_what_it_is() -> None:
    assert not [name for name, tree in trees() if not ast.get_docstring(tree)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as git would check it out, links included, with this machine's environment linked in."""
    target = check_out(tmp_path_factory.mktemp("tree") / "resight")
    (target / ".venv").symlink_to(Path(sys.prefix))
    return target


def test_planted_faults_are_seen_by_every_tool(tmp_path: Path) -> None:
    """Each tool can silently skip a room that is reached through a link; so plant a fault in every one.

    Beside our settings and links the tree is empty: what a tool finds does not depend on what else is there, and
    checking the types of all of it takes a minute.
    """
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    planted = {room: "resight/planted.py" if room == "resight" else f"{room}/planted.py" for room in ROOMS}
    for room, name in planted.items():
        (tmp_path / room).mkdir()
        (tmp_path / name).write_text(
            '"""Planted."""\n\nimport os\n\nVALUE: int = "text"\nif not VALUE:\n    VALUE = 1\n'
        )
    for room in ROOMS[:-1]:
        (tmp_path / "resight" / room).symlink_to(f"../{room}")
    (tmp_path / "resight/__init__.py").touch()
    modules = ["resight.planted", *(f"resight.{room}.planted" for room in ROOMS[:-1])]
    (tmp_path / "import_planted.py").write_text("".join(f"import {module}\n" for module in modules))

    def told(*words: str) -> str:
        return subprocess.run(words, cwd=tmp_path, env=untraced(), capture_output=True, text=True).stdout

    coverage = (sys.executable, "-m", "coverage")
    told(*coverage, "run", "import_planted.py")
    told(*coverage, "combine")
    seen = {
        "ruff": told(_tool("ruff"), "check", "."),
        "basedpyright": told(_tool("basedpyright")),
        "coverage": told(*coverage, "report", "--include", "*/planted.py", "--fail-under", "0"),
    }
    missed = [(tool, name) for tool, text in seen.items() for name in planted.values() if name not in text]
    assert not missed, missed


def test_wheel_and_sdist_hold_every_file(copy: Path, tmp_path: Path) -> None:
    """Both the wheel made from the tree and the one made from the source archive."""
    build = (sys.executable, "-m", "build", "--no-isolation", "--outdir")
    subprocess.run([*build, str(tmp_path / "archive"), str(copy)], check=True, capture_output=True)
    subprocess.run([*build, str(tmp_path / "tree"), "--wheel", str(copy)], check=True, capture_output=True)
    with tarfile.open(next((tmp_path / "archive").glob("*.tar.gz"))) as sdist:
        shipped = {"sdist": {name.partition("/")[2] for name in sdist.getnames()}}
    for folder in ("archive", "tree"):
        with zipfile.ZipFile(next((tmp_path / folder).glob("*.whl"))) as wheel:
            shipped[f"wheel from {folder}"] = set(wheel.namelist())
    ours = [name if name.startswith("resight/") else f"resight/{name}" for name in _house_files(copy)]
    assert len(ours) > 100
    assert not [(where, name) for where, names in shipped.items() for name in ours if name not in names]


@pytest.mark.ray
def test_runs_from_a_ray_working_directory(copy: Path, ray_cluster: Session, tmp_path: Path) -> None:
    """A driver ships the tree as its working directory; a worker elsewhere runs the shipped code, rooms and all."""
    script = tmp_path / "driver.py"
    script.write_text(f"""
import subprocess, sys
import ray

shipped = {{"working_dir": {str(copy)!r}, "excludes": [".venv", ".git"]}}
ray.init({ray_cluster.address!r}, runtime_env=shipped, log_to_driver=False)

def run(*words):
    return subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True).stdout

@ray.remote
def told():
    code = "import os, resight, resight.cluster.errors as e; print(os.getcwd(), resight.__file__, e.__file__)"
    return run("-c", code), run("-m", "resight", "--help")

where, verbs = ray.get(told.remote())
folder, door, room = where.split()
assert folder != {str(copy)!r}, folder
assert door.startswith(folder) and room.startswith(folder), where
assert "evaluate" in verbs
""")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _house_files(root: Path) -> list[str]:
    """Every file of the rooms as git knows them, links not followed."""
    paths = (path for room in ROOMS for path in (root / room).rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix() for path in paths if "__pycache__" not in path.parts}
    links = tuple(f"resight/{room}/" for room in ROOMS)
    return sorted(name for name in names if not name.startswith(links))


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
