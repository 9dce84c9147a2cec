"""The architecture as tests: who may import whom, and what a source file may contain."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "hypertail"
FILES = sorted(PACKAGE.rglob("*.py"))

# A floor is a tuple of rooms, a room the names (folders or files of hypertail/) that may import each other.
FLOORS: tuple[tuple[frozenset[str], ...], ...] = (
    (frozenset({"errors", "seeds", "environment"}),),
    (frozenset({"storage"}),),
    (frozenset({"nets"}), frozenset({"streams"})),
    (frozenset({"hyper"}),),
    (frozenset({"strategies"}),),
    (frozenset({"training"}),),
    (frozenset({"recipes"}),),
    (frozenset({"lab"}),),
    (frozenset({"cli", "__main__"}),),
)
ROOF = "__init__"  # the package's own __init__.py: sees every floor, is seen by none
FLOOR_OF = {name: floor for floor, rooms in enumerate(FLOORS) for room in rooms for name in room}
ROOM_OF = {name: room for rooms in FLOORS for room in rooms for name in room}

MAX_LINES = 320
SHAPELESS_NAMES = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
DYNAMIC_IMPORTS = {"__import__", "import_module", "importlib.import_module"}
HEAVY = (
    *("matplotlib", "ray", "onnx", "onnxruntime", "datasets", "kornia"),
    *("sklearn", "pandas", "tyro", "rich", "jinja2"),
)

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{line}"


def room_name(path: Path) -> str:
    """The first name under hypertail/ on the way to `path`: `nets/resnet.py` -> `nets`, `cli.py` -> `cli`."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(tree: ast.Module, path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import at any depth, `from m import n` as `m.n`."""
    package = path.relative_to(SOURCE).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and dotted(node.func) in DYNAMIC_IMPORTS:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def dotted(node: ast.expr) -> str:
    """`torch.load` for the expression of that name; empty for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (stem := dotted(node.value)):
        return f"{stem}.{node.attr}"
    return ""


def floor_breach(importer: str, imported: str) -> str:
    """Why the room `importer` must not import the dotted name `imported`; empty where it may."""
    top, _, rest = imported.partition(".")
    if top != "hypertail" or importer == ROOF:
        return ""
    target = rest.partition(".")[0]
    if target not in FLOOR_OF:
        return f"imports '{imported}' from the package's own __init__; import from the module that defines it"
    if target in ROOM_OF[importer] or FLOOR_OF[target] < FLOOR_OF[importer]:
        return ""
    return (
        f"is on floor {FLOOR_OF[importer]} and imports '{imported}' on floor {FLOOR_OF[target]}; "
        "a module imports only from lower floors or its own room"
    )


def undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[int, str]]:
    """(line, qualified name) of each public class, function and method without a docstring."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            inner = [*node.body, *node.orelse, *(s for h in getattr(node, "handlers", []) for s in h.body)]
            yield from undocumented(inner, prefix)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        decorators = {dotted(d) for d in node.decorator_list}
        accessor = decorators & {"overload", "typing.overload", f"{node.name}.setter", f"{node.name}.deleter"}
        if not accessor and not ast.get_docstring(node):
            yield node.lineno, f"{prefix}{node.name}"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, f"{prefix}{node.name}.")


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("nets", "hypertail.errors.HypertailError", True),
        ("nets", "hypertail.nets.resnet", True),
        ("nets", "hypertail.streams.stream", False),
        ("nets", "hypertail.hyper", False),
        ("strategies", "hypertail.export", False),
        ("lab", "hypertail.learner.Learner", False),
        ("lab", "hypertail.__version__", False),
        ("hyper", "hypertail", False),
        ("cli", "hypertail.lab.experiments.config", True),
        ("hyper", "torch.nn", True),
        (ROOF, "hypertail.learner.Learner", True),
    ],
)
def test_floor_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (floor_breach(importer, imported) == "") is allowed


def test_imports_are_found_wherever_they_hide() -> None:
    code = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..hyper import heads\n"
        "def f():\n    import hypertail.lab.experiments.run as r\n    from . import resnet\n"
        "    importlib.import_module('hypertail.cli')\n"
    )
    found = {name for _, name in imported_modules(ast.parse(code), PACKAGE / "nets" / "new.py")}
    assert found == {
        *("typing.TYPE_CHECKING", "hypertail.hyper.heads", "hypertail.lab.experiments.run"),
        *("hypertail.nets.resnet", "hypertail.cli"),
    }


def test_missing_docstrings_are_found_and_accessors_are_not_asked_for_one() -> None:
    code = (
        "class A:\n    def f(self): ...\n    def _g(self): ...\n"
        "    @property\n    def p(self):\n        'p'\n    @p.setter\n    def p(self, v): ...\n"
        "class _B:\n    def f(self): ...\n"
        "if True:\n    def h():\n        def inner(): ...\n"
    )
    assert [name for _, name in undocumented(ast.parse(code).body)] == ["A", "A.f", "h"]


def test_every_file_lives_on_a_floor() -> None:
    homeless = [str(path.relative_to(ROOT)) for path in FILES if room_name(path) not in {*FLOOR_OF, ROOF}]
    assert not homeless, f"not on any floor (move it into a room, or add it to FLOORS here): {homeless}"


def test_every_room_is_a_package() -> None:
    missing = sorted({str(p.parent.relative_to(ROOT)) for p in FILES if not (p.parent / "__init__.py").exists()})
    assert not missing, f"no __init__.py, so an installed package would lack them: {missing}"


@each_file
def test_imports_stay_on_lower_floors(path: Path) -> None:
    importer = room_name(path)
    if importer not in {*FLOOR_OF, ROOF}:
        pytest.fail(f"{path.relative_to(ROOT)} is not on any floor: add it to FLOORS in tests/house/test_floors.py")
    breaches = [
        f"{place(path, line)} {why}"
        for line, name in imported_modules(parse(path), path)
        if (why := floor_breach(importer, name))
    ]
    assert not breaches, "\n".join(breaches)


@each_file
def test_file_has_one_concept_of_readable_size(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines, at most {MAX_LINES}: split it by concept"
    assert path.name not in SHAPELESS_NAMES, f"{path.relative_to(ROOT)}: name the file after its concept"


@each_file
def test_no_pickle_and_no_code_from_strings(path: Path) -> None:
    tree = parse(path)
    unsafe = [
        f"{place(path, line)} imports {name}"
        for line, name in imported_modules(tree, path)
        if name.partition(".")[0] in PICKLERS or name in UNSAFE_CALLS
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if (name := dotted(node.func)) in UNSAFE_CALLS:
                unsafe.append(f"{place(path, node.lineno)} calls {name}")
            for keyword in node.keywords:
                constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg == "allow_pickle" and constant is not False:
                    unsafe.append(f"{place(path, node.lineno)} allows pickle")
    assert not unsafe, "\n".join(unsafe)


@each_file
def test_public_names_have_docstrings(path: Path) -> None:
    tree = parse(path)
    missing = [f"{place(path, 1)} the module"] if not ast.get_docstring(tree) else []
    missing += [f"{place(path, line)} {name}" for line, name in undocumented(tree.body)]
    assert not missing, "no docstring:\n" + "\n".join(missing)


def test_importing_the_package_is_light() -> None:
    code = f"import sys, hypertail; print(*[name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stdout.split(), f"`import hypertail` also imports {result.stdout.strip()}: import them where used"
