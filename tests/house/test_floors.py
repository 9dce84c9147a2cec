"""The architecture as tests: who may import whom, and what a source file may contain."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "hypertail"
FILES = sorted(PACKAGE.rglob("*.py"))

# A floor is a tuple of rooms, a room the names (folders or files of the house) that may import each other.
Floors = tuple[tuple[frozenset[str], ...], ...]


def floors(plan: str) -> Floors:
    """The floors of a plan that has a line for each, from the ground up: `a, b | c` is the room of a and b, and c's."""
    lines = [line for line in plan.splitlines() if line.strip()]
    return tuple(tuple(frozenset(re.findall(r"\w+", room)) for room in line.split("|")) for line in lines)


FLOORS = floors("""
    errors, seeds, environment
    storage
    nets | streams
    hyper
    strategies
    training
    recipes
    bank | lab
    cli, __main__
""")
LAB_FLOORS = floors("""
    records
    experiments
    reports
    reproduce | tuning | benchmark
""")
ROOF = "__init__"  # a house's own __init__.py: sees every floor, is seen by none


MAX_LINES = 320
SHAPELESS_NAMES = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
DYNAMIC_IMPORTS = {"__import__", "import_module", "importlib.import_module"}
HEAVY = (
    *("torch", "numpy", "safetensors", "PIL", "matplotlib", "jinja2", "rich", "tyro", "pandas", "sklearn"),
    *("datasets", "kornia", "onnx", "onnxruntime", "optuna", "ray", "transformers"),
)


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{line}"


def room_name(path: Path, house: Path = PACKAGE) -> str:
    """The first name under `house` on the way to `path`: `nets/resnet.py` -> `nets`, `cli.py` -> `cli`."""
    return path.relative_to(house).with_suffix("").parts[0]


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


def floor_breach(importer: str, imported: str, plan: Floors = FLOORS, house: str = "hypertail") -> str:
    """Why the room `importer` of `house` must not import the dotted name `imported`; empty where it may."""
    if not f"{imported}.".startswith(f"{house}.") or importer == ROOF:
        return ""
    floor_of = {name: floor for floor, rooms in enumerate(plan) for room in rooms for name in room}
    target = imported.removeprefix(house).lstrip(".").partition(".")[0]
    if importer not in floor_of:
        return f"is in '{importer}', which is on no floor of {house}: add it to the floors in tests/house"
    if target not in floor_of:
        return f"imports '{imported}' from {house}'s own __init__; import from the module that defines it"
    mates = next(room for room in plan[floor_of[importer]] if importer in room)
    if target in mates or floor_of[target] < floor_of[importer]:
        return ""
    return (
        f"is on floor {floor_of[importer]} of {house} and imports '{imported}' on floor {floor_of[target]}; "
        "a module imports only from lower floors or its own room"
    )


def floor_breaches(house: Path, plan: Floors) -> list[str]:
    """Every import in `house` that its plan does not allow, with its place."""
    name = ".".join(house.relative_to(SOURCE).parts)
    return [
        f"{place(path, line)} {why}"
        for path in sorted(house.rglob("*.py"))
        for line, imported in imported_modules(parse(path), path)
        if (why := floor_breach(room_name(path, house), imported, plan, name))
    ]


def homeless(house: Path, plan: Floors) -> list[str]:
    """The files of `house` that are in none of its rooms."""
    names = {ROOF, *(name for rooms in plan for room in rooms for name in room)}
    return [place(path, 1) for path in sorted(house.rglob("*.py")) if room_name(path, house) not in names]


def unsafe_code(path: Path) -> Iterator[str]:
    """What in a file reads pickles or runs code from strings, with its place."""
    tree = parse(path)
    for line, name in imported_modules(tree, path):
        if name.partition(".")[0] in PICKLERS or name in UNSAFE_CALLS:
            yield f"{place(path, line)} imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if (name := dotted(node.func)) in UNSAFE_CALLS:
                yield f"{place(path, node.lineno)} calls {name}"
            for keyword in node.keywords:
                constant = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg == "allow_pickle" and constant is not False:
                    yield f"{place(path, node.lineno)} allows pickle"


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
        ("nets", "hypertailor.hyper", True),
        ("strategies", "hypertail.export", False),
        ("strategies", "hypertail.recipes.presets", False),
        ("recipes", "hypertail.training.trainer.Trainer", True),
        ("lab", "hypertail.bank.Learner", False),
        ("bank", "hypertail.lab.experiments.config", False),
        ("bank", "hypertail.recipes.presets", True),
        ("attic", "hypertail.errors", False),
        ("lab", "hypertail.__version__", False),
        ("hyper", "hypertail", False),
        ("cli", "hypertail.lab.experiments.config", True),
        ("hyper", "torch.nn", True),
        (ROOF, "hypertail.bank.Learner", True),
    ],
)
def test_floor_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (floor_breach(importer, imported) == "") is allowed


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("records", "hypertail.lab.records.schema", True),
        ("records", "hypertail.lab.experiments.run", False),
        ("experiments", "hypertail.lab.records.runfile.RunFile", True),
        ("experiments", "hypertail.lab.reports.tables", False),
        ("reports", "hypertail.lab.experiments.config", True),
        ("reports", "hypertail.lab.reproduce.printed", False),
        ("reproduce", "hypertail.lab.reports.drawing", True),
        ("reproduce", "hypertail.lab.tuning.tune", False),
        ("tuning", "hypertail.lab.benchmark.bench", False),
        ("benchmark", "hypertail.lab.reproduce.runs", False),
        ("benchmark", "hypertail.lab.benchmark.timing", True),
        ("tuning", "hypertail.lab", False),
        ("tuning", "hypertail.lab.run", False),
        ("attic", "hypertail.lab.records", False),
        ("records", "hypertail.recipes.presets", True),
        (ROOF, "hypertail.lab.reports.tables", True),
    ],
)
def test_floor_rule_inside_the_lab(importer: str, imported: str, allowed: bool) -> None:
    assert (floor_breach(importer, imported, LAB_FLOORS, "hypertail.lab") == "") is allowed


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


def test_unsafe_code_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    path = tmp_path / "new.py"
    path.write_text(
        "import pickle\nfrom torch import load\ntorch.load(x)\nnumpy.load(x, allow_pickle=True)\n"
        "numpy.load(x, allow_pickle=False)\neval('1')\nmodel.eval()\n"
    )
    assert sorted(unsafe_code(path)) == [
        "new.py:1 imports pickle",
        "new.py:2 imports torch.load",
        "new.py:3 calls torch.load",
        "new.py:4 allows pickle",
        "new.py:6 calls eval",
    ]


# --- the house as it stands: each rule lists all breaches, with file and line -----------------------------------------


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 100
    assert {room_name(path) for path in FILES} >= {ROOF, "errors", "nets", "streams", "hyper", "lab", "cli"}
    assert list(imported_modules(parse(PACKAGE / "cli" / "run.py"), PACKAGE / "cli" / "run.py"))


def test_every_file_lives_on_a_floor() -> None:
    lost = homeless(PACKAGE, FLOORS) + homeless(PACKAGE / "lab", LAB_FLOORS)
    assert not lost, "in no room (move it into one, or add the room to the floors here):\n" + "\n".join(lost)


def test_every_room_is_a_package() -> None:
    missing = sorted({str(p.parent.relative_to(ROOT)) for p in FILES if not (p.parent / "__init__.py").exists()})
    assert not missing, f"no __init__.py, so an installed package would lack them: {missing}"


def test_imports_stay_on_lower_floors() -> None:
    breaches = floor_breaches(PACKAGE, FLOORS)
    assert not breaches, "\n".join(breaches)


def test_imports_stay_on_lower_floors_of_the_lab() -> None:
    breaches = floor_breaches(PACKAGE / "lab", LAB_FLOORS)
    assert not breaches, "\n".join(breaches)


def test_files_are_of_readable_size() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = [f"{place(path, count)} has {count} lines" for path, count in lines.items() if count > MAX_LINES]
    assert not long, f"over {MAX_LINES} lines, split by concept:\n" + "\n".join(long)


def test_files_are_named_after_their_concept() -> None:
    shapeless = [place(path, 1) for path in FILES if path.name in SHAPELESS_NAMES]
    assert not shapeless, "\n".join(shapeless)


def test_no_pickle_and_no_code_from_strings() -> None:
    unsafe = [what for path in FILES for what in unsafe_code(path)]
    assert not unsafe, "\n".join(unsafe)


def test_public_names_have_docstrings() -> None:
    missing = []
    for path in FILES:
        tree = parse(path)
        missing += [] if ast.get_docstring(tree) else [f"{place(path, 1)} the module"]
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
