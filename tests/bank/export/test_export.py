"""Exports answer as the bank does, hold no image and no place, and one graph serves all tasks."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hypertail.bank import Bank
from hypertail.bank.export.export import differing, input_names, slug, tensors_of
from hypertail.bank.export.served import SharedModel, TaskModel
from hypertail.errors import ConfigError
from support.banks import COLD, SIZE, WARM, new_bank, pictures, transformer, two_tasks
from support.commands import ENVIRONMENT
from support.errors import refused

IMAGES = torch.randint(0, 256, (7, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)


@pytest.fixture(scope="module", params=["resnet", "transformer"])
def bank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bank:
    place = tmp_path_factory.mktemp("banks") / request.param
    if request.param == "resnet":
        return two_tasks(place, epochs=4)
    made = new_bank(place, transformer(), "blocks.1")
    for name, classes in (("warm", WARM), ("cold", COLD)):
        made.learn(name, pictures(classes, 10), epochs=3, views=1)
    return made


def test_a_plain_module_answers_as_the_bank(bank: Bank) -> None:
    for name in ("warm", "cold"):
        model = TaskModel(bank._contents.served(name))
        torch.testing.assert_close(model(IMAGES / 255), bank._contents.server.logits(name, IMAGES), atol=1e-5, rtol=0)
        assert not any("hyper" in key or "adapter" in key for key in model.state_dict())


def check_no_place(content: bytes, tmp_path: Path) -> None:
    for place in (str(Path.cwd()), str(tmp_path), sys.prefix, "/hypertail/", ".py", "support.banks"):
        assert place.encode() not in content, place


def test_pt2_holds_no_place_of_the_machine(bank: Bank, tmp_path: Path) -> None:
    file = bank.export("warm", tmp_path / "warm.pt2")
    with zipfile.ZipFile(file) as archive:
        assert any(name.endswith("models/model.json") for name in archive.namelist())
        for name in archive.namelist():
            check_no_place(archive.read(name), tmp_path)
    program = torch.export.load(file).module()
    expected = bank._contents.server.logits("warm", IMAGES)
    torch.testing.assert_close(program(IMAGES / 255), expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_onnx_answers_as_the_bank(bank: Bank, tmp_path: Path) -> None:
    import onnxruntime

    file = bank.export("warm", tmp_path / "warm.onnx")
    said = json.loads((tmp_path / "warm.onnx.json").read_text())
    assert said["classes"] == sorted(WARM)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for count in (1, 7):
        images = (IMAGES[:count] / 255).numpy()
        (logits,) = session.run(["logits"], {"images": images})
        expected = bank._contents.server.logits("warm", IMAGES[:count]).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-5)
    check_no_place(file.read_bytes(), tmp_path)
    with refused(ConfigError, required="nothing is yet", found="a file"):
        bank.export("warm", tmp_path / "warm.onnx")


LOADED = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
images = torch.load  # not used: what is compared comes from safetensors
from safetensors.torch import load_file, save_file
save_file({"logits": program(load_file(sys.argv[2])["images"])}, sys.argv[3])
"""


@pytest.mark.slow
def test_pt2_answers_in_a_process_without_hypertail(bank: Bank, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = bank.export("cold", tmp_path / "cold.pt2")
    save_file({"images": IMAGES / 255}, tmp_path / "in.safetensors")
    script = LOADED.replace("images = torch.load  # not used: what is compared comes from safetensors\n", "")
    command = [sys.executable, "-c", script, str(file), str(tmp_path / "in.safetensors"), str(tmp_path / "out")]
    environment = {**ENVIRONMENT, "PYTHONPATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    logits = load_file(tmp_path / "out")["logits"]
    torch.testing.assert_close(logits, bank._contents.server.logits("cold", IMAGES), atol=1e-5, rtol=0)
    assert file.stat().st_size < 1_000_000


def test_safetensors_hold_all_tensors(bank: Bank, tmp_path: Path) -> None:
    file = bank.export("warm", tmp_path / "warm.safetensors")
    model = TaskModel(bank._contents.served("warm"))
    for name, value in load_file(file).items():
        assert torch.equal(value, model.state_dict()[name])
    said = json.loads((tmp_path / "warm.safetensors.json").read_text())
    assert said["backbone"]["cut"] == bank.backbone.cut
    assert said["preprocessing"]["size"] == SIZE


def test_one_module_serves_all_tasks_without_being_compiled_again(bank: Bank) -> None:
    served = [bank._contents.served(name) for name in bank.tasks]
    names = differing(served)
    model = SharedModel(bank.backbone, names)
    fed = [tensors_of(each, names, 3) for each in served]
    inputs = input_names(names)
    example = (IMAGES / 255, *(fed[0][name] for name in inputs))
    program = torch.export.export(model, example).module()
    for each, tensors in zip(served, fed, strict=True):
        wanted = bank._contents.server.logits(each.name, IMAGES)
        logits = program(IMAGES / 255, *(tensors[name] for name in inputs))
        assert logits.shape == (7, 3)
        torch.testing.assert_close(logits[:, : len(each.classes)], wanted, atol=1e-5, rtol=0)
        assert (logits[:, len(each.classes) :] < -1e20).all()


@pytest.mark.slow
def test_one_graph_serves_all_tasks(bank: Bank, tmp_path: Path) -> None:
    import onnxruntime

    place = bank.export_all(tmp_path / "all")
    said = json.loads((place / "tasks.json").read_text())
    session = onnxruntime.InferenceSession(str(place / "graph.onnx"), providers=["CPUExecutionProvider"])
    assert {each["task"] for each in said["tasks"]} == {"warm", "cold"}
    for each in said["tasks"]:
        tensors = load_file(place / each["file"])
        fed = {name: tensors[name].numpy() for name in said["inputs"]}
        (logits,) = session.run(["logits"], {"images": (IMAGES / 255).numpy(), **fed})
        wanted = bank._contents.server.logits(each["task"], IMAGES).numpy()
        np.testing.assert_allclose(logits[:, : len(each["classes"])], wanted, atol=1e-5)


def test_names_of_files_are_safe() -> None:
    names = ["bäckerei / süß", "../../x", "x" * 300, "", "CON", "a b", "a-b"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all("/" not in each and "." not in each and len(each) < 60 for each in slugs)


def test_an_unknown_format(bank: Bank, tmp_path: Path) -> None:
    with refused(ConfigError, problem="format", found="'h5'"):
        bank.export("warm", tmp_path / "warm.h5")
