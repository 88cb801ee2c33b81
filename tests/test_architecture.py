"""The laws of the house, held by machine: who imports whom, how long a file may be, where one may print."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    target = tmp_path_factory.mktemp("tree") / "resight"
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in names:
        if (ROOT / name).exists() or (ROOT / name).is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    (target / ".venv").symlink_to(Path(sys.prefix))
    return target


def test_planted_faults_are_seen_by_every_tool(copy: Path) -> None:
    """Each tool can silently skip a room that is reached through a link; so plant a fault in every one."""
    for room in ROOMS:
        (copy / room / "planted.py").write_text('"""Planted."""\n\nimport os\n\nVALUE: int = "text"\n')
    try:
        ruff = subprocess.run([_tool("ruff"), "check", "."], cwd=copy, capture_output=True, text=True).stdout
        types = subprocess.run([_tool("basedpyright")], cwd=copy, capture_output=True, text=True).stdout
        imports = "; ".join(f"import resight.{room}.planted" for room in ROOMS[:-1]) + "; import resight.planted"
        data = copy / ".coverage-planted"
        words = [_tool("coverage"), "run", "--data-file", str(data), "-c", imports]
        words = [sys.executable, "-m", "coverage", "run", "--data-file", str(data), "-m", "planted_imports"]
        (copy / "planted_imports.py").write_text(imports.replace("; ", "\n") + "\n")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
        subprocess.run(words, cwd=copy, check=True, env=environment)
        combine = [sys.executable, "-m", "coverage", "combine", "--data-file", str(data), str(copy)]
        subprocess.run(combine, cwd=copy, check=True, env=environment, capture_output=True)
        report = [sys.executable, "-m", "coverage", "report", "--data-file", str(data), "--fail-under", "0"]
        report += ["--include", "*/planted.py", "--skip-covered"]
        report = [word for word in report if word != "--skip-covered"]
        seen = subprocess.run(report, cwd=copy, check=True, env=environment, capture_output=True, text=True).stdout
        for room in ROOMS:
            assert f"{room}/planted.py" in ruff
            assert f"/{room}/planted.py" in types
            assert f"{room}/planted.py" in seen or room != "resight"
    finally:
        for room in ROOMS:
            (copy / room / "planted.py").unlink()


def test_wheel_and_sdist_hold_every_file(copy: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    subprocess.run(words, check=True, capture_output=True)
    import tarfile
    import zipfile

    wheel = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    sdist = tarfile.open(next(tmp_path.glob("*.tar.gz")))
    shipped = {name.partition("/")[2] for name in sdist.getnames()}
    for name in (copy_name for copy_name in _house_files(copy)):
        inside = name if name.startswith("resight/") else f"resight/{name}"
        assert inside in wheel, name
        assert name in shipped or inside in shipped, name


def test_runs_from_a_ray_working_directory(copy: Path, tmp_path: Path) -> None:
    """`ray job submit --working-dir .` zips the tree, links followed; the result must run and win over an installed one."""
    from ray._private.runtime_env.packaging import get_uri_for_directory, upload_package_if_needed  # noqa: F401

    archive = shutil.make_archive(str(tmp_path / "job"), "zip", copy / ".")
    del archive
    shipped = tmp_path / "shipped"
    shutil.copytree(copy, shipped, symlinks=False, ignore=shutil.ignore_patterns(".venv", ".git"))
    words = [sys.executable, "-c", "import resight, resight.cluster.errors as e; print(resight.__file__, e.__file__)"]
    told = subprocess.run(words, cwd=shipped, check=True, capture_output=True, text=True).stdout
    assert told.split()[0].startswith(str(shipped))
    assert told.split()[1].startswith(str(shipped))


def _house_files(root: Path) -> list[str]:
    files = (path.relative_to(root).as_posix() for room in ROOMS for path in (root / room).rglob("*.*"))
    return [name for name in files if name.endswith((".py", ".npz", ".html", ".css", ".j2", ".typed", ".md"))]


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
