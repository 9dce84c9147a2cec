"""The pages tell the truth: their Python runs, their commands parse, their links lead somewhere.

New pages are found by themselves. A block that is not for running has `<!-- not run: reason -->` on the line above it.
"""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hypertail
from hypertail.cli import COMMANDS, parse
from hypertail.errors import HypertailError
from support.documents import ROOT, all_pages, anchors, blocks, broken_links, commands, guides, script

MAX_NOT_RUN = 3
EXTRAS = {"onnx", "onnxruntime", "onnxscript", "optuna", "ray", "transformers"}
SCRIPTED = [page for page in guides() if script(page.read_text(encoding="utf-8"))]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- Python ------------------------------------------------------------------------------------------------------


def test_there_are_pages_to_look_at() -> None:
    pages = {name_of(page) for page in all_pages()}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "DEVIATIONS.md", "results/README.md"} <= pages
    assert {name_of(page) for page in guides()} > {"README.md", "docs/method/idea.md"}
    assert ROOT / "README.md" in SCRIPTED


@pytest.mark.slow
@pytest.mark.parametrize("page", SCRIPTED, ids=name_of)
def test_python_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    """All blocks in reading order, as one who types them along; a traceback names the lines of the page."""
    code = tmp_path / page.name
    code.write_text(script(page.read_text(encoding="utf-8")), encoding="utf-8")
    (tmp_path / "work").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(code)],
        cwd=tmp_path / "work",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{name_of(page)}:\n{done.stdout}\n{done.stderr}"


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    left_out = [
        f"{name_of(page)}:{block.line}"
        for page in guides()
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.not_run
    ]
    assert len(left_out) <= MAX_NOT_RUN, f"at most {MAX_NOT_RUN} blocks are not run: {left_out}"
    marks = sum(page.read_text(encoding="utf-8").count("<!-- not run") for page in guides())
    assert marks == len(left_out), "a mark `<!-- not run: reason -->` has no reason, or no block below it"


@pytest.mark.slow
def test_doctests_of_the_package() -> None:
    failed, tried = [], 0
    for module in pkgutil.walk_packages(hypertail.__path__, "hypertail."):
        try:
            loaded = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise
            continue
        result = doctest.testmod(loaded)
        tried += result.attempted
        failed += [module.name] * bool(result.failed)
    assert not failed, f"doctests fail in {failed}; what they give stands in the captured output"
    assert tried >= 10


# --- commands ----------------------------------------------------------------------------------------------------


def problem_of(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Why the command line does not parse; empty where it does. A placeholder such as N may stand for a number."""
    if args == ["--version"]:
        return ""
    told = ""
    for filled in (args, ["1" if re.fullmatch("[A-Z]+", arg) else arg for arg in args]):
        try:
            parse(filled)
        except SystemExit as stop:
            if stop.code in (0, None):  # --help
                return ""
            told = told or " ".join(re.sub(r"[│╭╰╮╯─]+", " ", capsys.readouterr().err).split())
        except HypertailError as error:
            told = told or str(error)
        else:
            return ""
        finally:
            capsys.readouterr()
    return told


def test_commands_of_the_pages_parse(capsys: pytest.CaptureFixture[str]) -> None:
    problems, seen = [], set()
    for page in guides():
        for line, args in commands(page.read_text(encoding="utf-8")):
            seen.update(args[:1])
            if args and (why := problem_of(args, capsys)) and args != args[:1] * (args[0] in COMMANDS):
                problems.append(f"{name_of(page)}:{line}: hypertail {' '.join(args)}\n    {why}")
    assert not problems, "\n".join(problems)
    assert seen >= {"run", "report", "reproduce"}, "not even the commands of README were found"


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ("run digits --epochs N --data DATA", True),
        ("run digits --epochs ten", False),
        ("run digits --epoch 3", False),
        ("run digits --preset printd", False),
        ("run --help", True),
        ("runs digits", False),
        ("report X --out report.html", True),
    ],
)
def test_lines_that_parse_are_told_from_others(line: str, fine: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert (problem_of(line.split(), capsys) == "") is fine


# --- links -------------------------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    problems = [f"{name_of(page)}: {why}" for page in all_pages() for why in broken_links(page)]
    assert not problems, "\n".join(problems)


def test_broken_links_are_recognised(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One `code` heading\n## Twice\n## Twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#one-code-heading) [c](there.md#twice-1) [d](https://example.com/x)\n"
        "`[e](no.md)`\n"
        "```\n[f](no.md)\n```\n"
        "[g]: there.md#twice\n"
    )
    assert list(broken_links(page)) == []
    page.write_text('[a](gone.md) [b](there.md#three) ![c](gone.png "title") [g]\n\n[g]: gone.html\n')
    broken = [problem.split("'")[1] for problem in broken_links(page)]
    assert broken == ["gone.md", "there.md#three", "gone.png", "gone.html"]


# --- how pages are read ------------------------------------------------------------------------------------------

PAGE = """# A page

```python
a = 1
```

<!-- not run: needs a GPU -->
```python
b = 2
```

1. In a list

   ```python
   if a:
       c = 3
   ```

```bash
cd x && hypertail run digits --seeds 0 1 \\
    --epochs N   # a comment
$ hypertail report runs > out.txt
OMP_NUM_THREADS=1 .venv/bin/hypertail cache; echo hypertail run no
```

Type `hypertail info --depth
3` or `hypertail tune ...`; hypertail run is not typed here.

    python -m hypertail reproduce TARGET [TARGET ...] [--preset tuned]

## And `code`
"""


def test_blocks_of_a_page() -> None:
    found = [(block.line, block.language, block.not_run) for block in blocks(PAGE)]
    expected = [(4, "python", ""), (9, "python", "needs a GPU"), (15, "python", ""), (20, "bash", ""), (29, "", "")]
    assert found == expected
    assert script(PAGE).splitlines() == ["", "", "", "a = 1", *[""] * 10, "if a:", "    c = 3"]
    assert anchors(PAGE) == {"a-page", "and-code"}


def test_commands_of_a_page() -> None:
    assert list(commands(PAGE)) == [
        (20, ["run", "digits", "--seeds", "0", "1", "--epochs", "N"]),
        (22, ["report", "runs"]),
        (23, ["cache"]),
        (29, ["reproduce", "TARGET", "TARGET", "--preset", "tuned"]),
        (26, ["info", "--depth", "3"]),
    ]
