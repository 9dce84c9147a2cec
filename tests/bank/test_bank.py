"""A bank as its user has it: learn, predict, extend, rename, forget, roll back, certify."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import hypertail as ht
from hypertail.bank.learning.task import evenly
from hypertail.bank.methods.catalogue import METHODS
from hypertail.bank.record import TaskRecord
from hypertail.errors import BudgetError, CheckpointError, ConfigError, DataError
from support.banks import COLD, PIXELS, WARM, answers, folder, new_bank, pictures, resnet, transformer, two_tasks
from support.errors import refused


@pytest.mark.parametrize("method", METHODS)
def test_a_second_task_changes_no_bit_of_the_first(method: str, tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 12), epochs=3, method=method)
    before = answers(bank, "warm")
    learned = bank.learn("cold", pictures(COLD, 12), epochs=3, method=method)
    assert torch.equal(answers(bank, "warm"), before)
    assert torch.equal(answers(ht.Bank.open(tmp_path / "bank", model=resnet()), "warm"), before)
    assert learned.certificate is not None
    assert learned.certificate.passed
    assert [check.standing for check in learned.certificate.checks] == ["identical"]


@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_every_method_learns(method: str, tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    learned = bank.learn("warm", folder(tmp_path / "photos", WARM, 16), epochs=25, method=method)
    shutil.rmtree(tmp_path / "photos")
    assert bank.evaluate("warm", pictures(WARM, 20, seed=9)) > 0.9
    assert learned.images + round(learned.images / 9) >= 40
    assert bool(learned.verdict) == (method == "auto")


def test_what_comes_out_of_the_files_is_what_was_learned(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="adapter")
    again = ht.Bank.open(tmp_path / "bank", model=resnet())
    for name in ("warm", "cold"):
        assert torch.equal(answers(again, name), answers(bank, name))
    assert again.generation == 2
    assert list(again.tasks) == ["warm", "cold"]
    assert again.tasks["warm"].classes == tuple(sorted(WARM))


@pytest.mark.parametrize("method", ["head", "auto"])
def test_images_of_a_test_folder_decide_nothing(method: str, tmp_path: Path) -> None:
    photos, alone = tmp_path / "photos", tmp_path / "alone"
    folder(photos / "train", WARM, 8)
    folder(photos / "test", WARM, 8, seed=7)
    shutil.copytree(photos / "train", alone)
    one, two = new_bank(tmp_path / "one"), new_bank(tmp_path / "two")
    learned = [bank.learn("warm", place, epochs=2, method=method) for bank, place in ((one, photos), (two, alone))]
    assert torch.equal(answers(one, "warm"), answers(two, "warm"))
    assert learned[0].held_out_accuracy == learned[1].held_out_accuracy
    records = [bank._contents.record("warm") for bank in (one, two)]
    assert records[0].calibration == records[1].calibration
    assert any("24 images of test/" in notice for notice in learned[0].notices)
    assert one.evaluate("warm", photos) == one.evaluate("warm", photos / "test")
    (photos / "test" / WARM[0] / "broken.png").write_bytes(b"no image")
    new_bank(tmp_path / "three").learn("warm", photos, epochs=1, method="head")


def test_learning_follows_from_the_seed_alone(tmp_path: Path) -> None:
    first, second = (new_bank(tmp_path / name) for name in ("one", "two"))
    first.learn("warm", folder(tmp_path / "photos", WARM, 8), epochs=2, seed=3)
    torch.randn(7)
    second.learn("warm", folder(tmp_path / "elsewhere", WARM, 8), epochs=2, seed=3)
    assert torch.equal(answers(first, "warm"), answers(second, "warm"))


def test_predictions_for_all_kinds_of_images(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    place = folder(tmp_path / "x", ("red",), 2)
    file = place / "red" / "000.png"
    one = bank.predict(file, task="warm")
    assert isinstance(one, ht.Prediction)
    assert (one.task, one.label, one.path) == ("warm", "red", str(file))
    assert 0 < one.probability <= 1
    several = bank.predict([file, Image.open(file)], task="warm")
    assert isinstance(several, list)
    assert [answer.label for answer in several] == ["red", "red"]
    pixels = pictures(("red",), 3)[0]
    assert len(bank.predict(pixels, task="warm")) == 3  # type: ignore[arg-type]
    assert len(bank.predict(place, task="warm")) == 2  # type: ignore[arg-type]
    mixed = bank.predict(torch.cat((pixels[:1], pictures(("blue",), 1)[0])), task=["warm", "cold"])
    assert isinstance(mixed, list)
    assert [(answer.task, answer.label) for answer in mixed] == [("warm", "red"), ("cold", "blue")]


def test_the_task_is_found_where_it_is_not_told(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    images, labels = pictures(("red", "blue", "light", "green"), 10, seed=4)
    found = bank.predict(images)
    assert isinstance(found, list)
    right = [answer.nearest == ("warm" if label in WARM else "cold", label)
             for answer, label in zip(found, labels, strict=True)]  # fmt: skip
    assert sum(right) >= 36
    assert sum(answer.known for answer in found) >= 30


def test_what_was_never_learned_is_unknown(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    stripes = torch.zeros(10, 3, 12, 12, dtype=torch.uint8)
    stripes[..., ::2] = 255
    found = bank.predict(stripes)
    assert isinstance(found, list)
    assert all(answer.label is None and answer.task is None and not answer.known for answer in found)
    assert all(answer.nearest is not None and str(answer) == "unknown" for answer in found)
    told = bank.predict(stripes, task="warm")
    assert isinstance(told, list)
    assert all(answer.label is not None and not answer.known for answer in told)


def test_probabilities_sum_to_one_over_all_tasks(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    (rows,) = bank.probabilities(pictures(("red",), 3)[0])
    for row in rows:
        assert set(row) == {*WARM, *COLD}
        assert sum(row.values()) == pytest.approx(1)


def test_a_new_class_leaves_the_others_outputs_equal(tmp_path: Path) -> None:
    """case 36: the old images are gone, and the old classes must not suffer."""
    bank = two_tasks(tmp_path / "bank")
    before, cold = answers(bank, "warm"), answers(bank, "cold")
    bank.extend("warm", pictures(("light",), 16))
    after = answers(bank, "warm")
    temperature = bank._contents.record("warm").calibration["temperature"]
    assert bank.tasks["warm"].classes == (*sorted(WARM), "light")
    assert torch.equal(after[:, :3], before)
    assert torch.equal(answers(bank, "cold"), cold)
    assert temperature > 0
    assert bank.evaluate("warm", pictures((*WARM, "light"), 20, seed=8)) > 0.85


def test_more_images_of_a_class_keep_the_others(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    learned = bank.extend("warm", pictures(("red",), 16, seed=3))
    assert bank.tasks["warm"].classes == tuple(sorted(WARM))
    assert learned.images == bank.tasks["warm"].images == 36 + 14  # two are held out
    assert bank.evaluate("warm", pictures(WARM, 20, seed=8)) > 0.85


def test_extend_and_evaluate_take_a_dataset_of_one_class(tmp_path: Path) -> None:
    import datasets

    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 8), epochs=2, method="head")
    rows = [Image.fromarray(each.permute(1, 2, 0).contiguous().numpy()) for each in pictures(("blue",), 4)[0]]
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("string"))
    data = datasets.Dataset.from_dict({"image": rows, "label": ["blue"] * 4}, features=features)
    bank.extend("warm", data)
    assert bank.tasks["warm"].classes == (*sorted(WARM), "blue")
    assert 0 <= bank.evaluate("warm", data) <= 1


def test_kept_probes_are_of_all_classes(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 16), epochs=30, method="head", hold_out=0.25, keep_probes=6)
    probes = bank._contents.record("warm").probes
    assert probes["features"].shape[0] == 6
    assert probes["answers"].argmax(1).bincount().tolist() == [2, 2, 2]
    assert bank.certify().passed


def test_rows_are_drawn_evenly_of_all_classes() -> None:
    labels = torch.tensor([0] * 9 + [1] * 2 + [2] * 5)
    rows = evenly(labels, ("a", "b", "c"), 8, 0)
    assert labels[rows].bincount().tolist() == [3, 2, 3]
    assert rows.unique().numel() == 8
    assert sorted(evenly(labels, ("a", "b", "c"), 100, 0).tolist()) == list(range(16))
    assert evenly(labels, ("a", "b", "c"), 8, 1).tolist() != rows.tolist()
    # a class does not depend on the others
    assert set(evenly(labels[:9], ("a",), 3, 0).tolist()) == {row for row in rows.tolist() if row < 9}


def test_counts_of_images_are_kept_exactly(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("warm", pictures(WARM, 4), epochs=1, method="head")
    record = bank._contents.record("warm")
    many = replace(record, hidden={**record.hidden, "counts": torch.tensor([2049.0, 50001.0, 3.0])})
    again = TaskRecord.from_file(*many.to_file())
    assert again.hidden["counts"].tolist() == [2049, 50001, 3]
    tensors, facts = many.to_file()
    tensors["hidden.counts"] = torch.tensor([2048, 12, 3], dtype=torch.float16)
    assert TaskRecord.from_file(tensors, facts).hidden["counts"].dtype == torch.float32


def test_origin_is_what_was_asked_for_and_then_what_was_decided(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank", cut="auto")
    assert (bank.origin["source"], bank.origin["cut"]) == ("given", "auto")
    bank.learn("warm", pictures(WARM, 8), epochs=1, method="head")
    assert bank.origin["cut"] == bank.backbone.cut != "auto"
    assert bank.origin["preprocessing"]["size"] == PIXELS.size


def test_rename_forget_and_roll_back(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank")
    warm, cold = answers(bank, "warm"), answers(bank, "cold")
    bank.rename("warm", "hot things")
    assert torch.equal(answers(bank, "hot things"), warm)
    bank.rollback(1)
    assert list(bank.tasks) == ["warm"]
    bank.rollback(2)
    assert torch.equal(answers(bank, "cold"), cold)
    gone = bank.path / bank._contents.ref("warm").file.name
    forgotten = bank.forget("warm")
    assert forgotten.exact
    assert not gone.exists()
    assert torch.equal(answers(bank, "cold"), cold)
    with refused(ConfigError, problem="generation 1", found="warm"):
        bank.rollback(1)
    assert [entry.event for entry in bank.log()][-3:] == ["rollback", "rollback", "forget"]
    assert bank.verify().passed


def test_forgetting_what_taught_others_is_not_called_exact(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet")
    assert bank.forget("cold").exact
    forgotten = bank.forget("warm")
    assert not forgotten.exact
    assert "hypernetwork" in forgotten.explanation


def test_consolidation_is_measured_and_held_to_a_budget(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet")
    before = answers(bank, "warm")
    certificate = bank.consolidate(budget=1.0, steps=20)
    assert {check.standing for check in certificate.checks} == {"moved"}
    assert all(check.weight_change > 0 for check in certificate.checks)
    assert not torch.equal(answers(bank, "warm"), before)
    assert "consolidate" in [entry.event for entry in bank.log()]
    assert not bank.forget("cold").exact


def test_a_budget_that_is_passed_leaves_the_bank_as_it_was(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet", options={"shared_rate": 1e-2})
    before = {name: answers(bank, name) for name in bank.tasks}
    files = sorted(path.name for path in (bank.path / "files").iterdir())
    loud = {"sealed": False, "shared_rate": 0.3}
    with refused(BudgetError, required="0 %", hint="as it was"):
        bank.learn("more", pictures(("red", "light"), 12), epochs=6, method="hypernet", options=loud)
    bank.refresh()
    assert bank.generation == 2
    assert sorted(path.name for path in (bank.path / "files").iterdir()) == files
    for name, logits in before.items():
        assert torch.equal(answers(bank, name), logits)


def test_a_certificate_is_json_and_a_page_without_scripts(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    bank.learn("<script>alert(1)</script>", pictures(WARM, 12), epochs=1, method="head")
    certificate = bank.certify({"<script>alert(1)</script>": pictures(WARM, 10, seed=2)})
    assert certificate.passed
    said = json.loads(json.dumps(certificate.to_json(), allow_nan=False))
    assert said["format"] == "hypertail-certificate"
    assert said["checks"][0]["accuracy"] == certificate.checks[0].accuracy
    assert (certificate.checks[0].images, certificate.checks[0].images_then) == (30, 3)
    page = certificate.page()
    assert f"{100 * (certificate.checks[0].accuracy or 0):.1f} % of 30<" in page
    assert f"{100 * (certificate.checks[0].accuracy_then or 0):.1f} % of 3<" in page
    assert "of test images</th>" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page


def test_a_certificate_tells_of_another_task_file(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="head")
    # as if someone had put another file in the place of a task's
    with bank._contents.store.change() as change:
        tensors, facts = bank._contents.store.load(bank._contents.ref("warm").file)
        tensors["tail.head"] = -tensors["tail.head"]
        file = change.put("task-0", tensors, facts)
        warm, cold = change.manifest.tasks
        change.commit("extend", tasks=(type(warm)(warm.id, warm.name, file), cold))
    bank.refresh()
    certificate = bank.certify()
    assert not certificate.passed
    assert [check.standing for check in certificate.checks] == ["moved", "identical"]
    assert certificate.checks[0].answers_changed > 0


def test_summary_counts_bytes_and_says_where_a_hypernetwork_does_not_pay(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="hypernet")
    summary = bank.summary()
    files = sum(path.stat().st_size for path in (bank.path / "files").iterdir())
    assert summary.nbytes == files
    assert "does not pay" in summary.verdict
    assert all(count > 0 for count in summary.alternatives.values())
    assert "kB" in str(summary)


def test_a_transformer_of_ones_own(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank", transformer(), "blocks.1")
    for name, classes in (("warm", WARM), ("cold", COLD)):
        before = answers(bank, "warm") if bank.tasks else None
        bank.learn(name, pictures(classes, 16), epochs=6)
        assert bank.evaluate(name, pictures(classes, 20, seed=9)) > 0.8
    assert before is not None
    assert torch.equal(answers(bank, "warm"), before)


@pytest.mark.slow
def test_the_first_folder_trains_a_model_where_none_is_given(tmp_path: Path) -> None:
    bank = ht.Bank.create(tmp_path / "bank")
    with refused(ConfigError, problem="model of this bank", hint="Learn a task"):
        _ = bank.backbone
    bank.learn("warm", folder(tmp_path / "photos", WARM, 12), epochs=2)
    again = ht.Bank.open(tmp_path / "bank")
    assert torch.equal(answers_of_32(again), answers_of_32(bank))
    again.learn("cold", pictures(COLD, 12), epochs=2)
    assert torch.equal(answers_of_32(again), answers_of_32(bank))
    assert not again.forget("warm").exact


def answers_of_32(bank: ht.Bank) -> torch.Tensor:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return bank._contents.server.logits("warm", pixels)


@pytest.mark.slow
def test_a_cut_that_the_first_folder_decides(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank", cut="auto")
    bank.learn("warm", pictures(WARM, 16), epochs=1)
    assert bank.cut_evidence is not None
    tried = [row["cut"] for row in bank.cut_evidence["tried"]]
    assert tried == ["bn1", "layer1", "layer2"]
    assert bank.backbone.cut == bank.cut_evidence["chosen"]
    assert ht.Bank.open(tmp_path / "bank", model=resnet()).backbone.cut == bank.backbone.cut


# --- what is refused --------------------------------------------------------------------------------------------


def test_refusals_of_names(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="head")
    with refused(ConfigError, problem="'warm'", hint="extend"):
        bank.learn("warm", pictures(WARM, 4))
    with refused(ConfigError, problem="task name"):
        bank.learn("  ", pictures(WARM, 4))
    with refused(ConfigError, problem="'worm'", hint="'warm'"):
        bank.predict(pictures(("red",), 1)[0], task="worm")
    with refused(ConfigError, problem="method", hint="'adapter'"):
        bank.learn("new", pictures(WARM, 4), method="adaptor")
    with refused(ConfigError, problem="name 'cold'"):
        bank.rename("warm", "cold")
    assert bank.generation == 2


def test_refusals_of_data(tmp_path: Path) -> None:
    bank = two_tasks(tmp_path / "bank", method="head")
    (tmp_path / "empty").mkdir()
    with refused(DataError, found="no class folder"):
        bank.learn("new", tmp_path / "empty")
    with refused(DataError, required="two", found="red"):
        bank.learn("new", folder(tmp_path / "one", ("red",), 3))
    place = folder(tmp_path / "broken", WARM, 4)
    (place / "red" / "bad.png").write_bytes(b"not an image")
    with refused(DataError, problem="bad.png"):
        bank.learn("new", place)
    folder(tmp_path / "odd" / "train", WARM, 4)
    folder(tmp_path / "odd" / "test", COLD, 2)
    with refused(DataError, problem="test class folder", found="blue"):
        bank.learn("new", tmp_path / "odd")
    with refused(DataError, problem="task 'warm'", found="blue"):
        bank.evaluate("warm", pictures(COLD, 2))
    assert bank.generation == 2
    assert sorted(bank.tasks) == ["cold", "warm"]


def test_refusals_of_models(tmp_path: Path) -> None:
    two_tasks(tmp_path / "bank", method="head")
    with refused(ConfigError, problem="model of this bank", hint="model="):
        ht.Bank.open(tmp_path / "bank")
    with refused(CheckpointError, problem="model of this bank", found="another"):
        ht.Bank.open(tmp_path / "bank", model=resnet(seed=1))
    with refused(ConfigError, problem="no module 'layer9'", hint="layer2"):
        new_bank(tmp_path / "other", cut="layer9")
    with refused(ConfigError, problem="directory", hint="Bank.open"):
        new_bank(tmp_path / "bank")
    with refused(ConfigError, problem="backbone", found="both"):
        ht.Bank.create(tmp_path / "two", model=resnet(), trunk="slim-resnet18")
    with refused(ConfigError, problem="trunk", hint="slim-resnet18"):
        ht.Bank.create(tmp_path / "three", trunk="slim-resnet19")
    assert not (tmp_path / "three").exists()


def test_the_users_model_is_left_alone(tmp_path: Path) -> None:
    model = resnet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bank = ht.Bank.create(tmp_path / "bank", model=model, cut="layer2", preprocessing=PIXELS)
    bank.learn("warm", pictures(WARM, 8), epochs=1)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def traces(images: torch.Tensor) -> set[bytes]:
    """What the middle of each image, or of its features, is as bytes."""
    parts = [image.flatten()[image.numel() // 3 : image.numel() // 2] for image in images]
    assert all(part.bool().any() for part in parts)
    return {part.contiguous().numpy().tobytes() for part in parts}


def holds(place: Path, wanted: set[bytes]) -> bool:
    """Whether any file below a directory has one of them."""
    contents = [file.read_bytes() for file in place.rglob("*") if file.is_file()]
    return any(each in content for content in contents for each in wanted)


def test_no_image_and_no_place_is_kept(tmp_path: Path) -> None:
    place = folder(tmp_path / "a-secret-place", WARM, 8)
    bank, keeping = new_bank(tmp_path / "bank"), new_bank(tmp_path / "keeping")
    bank.learn("warm", place, epochs=1)
    keeping.learn("warm", place, epochs=1, keep_probes=8)
    assert not holds(bank.path, {b"a-secret-place", str(tmp_path).encode()})
    pixels = pictures(WARM, 8)[0]
    for form in (pixels, pixels.movedim(1, -1), pixels.float(), pixels / 255, PIXELS(pixels), PIXELS(pixels).half()):
        assert not holds(bank.path, traces(form))
    features = keeping._contents.record("warm").probes["features"]
    assert holds(keeping.path, traces(features))
    for form in (features, features.half(), bank.backbone.features(pixels)):
        assert not holds(bank.path, traces(form))
    assert "probes.features" not in bank._contents.store.load(bank._contents.ref("warm").file)[0]
