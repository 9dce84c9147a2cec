"""A bank with the verbs of scikit-learn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone, is_classifier
from sklearn.model_selection import cross_val_predict, cross_val_score

import hypertail as ht
from hypertail.errors import ConfigError
from support.banks import COLD, PIXELS, WARM, pictures, resnet
from support.errors import refused


def classifier(path: Path | None = None) -> ht.BankClassifier:
    return ht.BankClassifier(path, model=resnet(), cut="layer2", preprocessing=PIXELS, epochs=15)


def arrays(classes: tuple[str, ...], count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images, labels = pictures(classes, count, seed)
    return images.numpy(), np.array(labels)


def test_a_part_after_a_forgotten_task_has_a_name_of_its_own() -> None:
    model = classifier().fit(*arrays(WARM, 6)).partial_fit(*arrays(COLD, 6))
    model.bank_.forget("task 1")
    model.partial_fit(*arrays(("violet", "grey"), 6))
    assert list(model.bank_.tasks) == ["task 2", "task 3"]


def test_classes_come_batch_by_batch(tmp_path: Path) -> None:
    model = classifier(tmp_path / "bank").fit(*arrays(WARM, 16))
    assert model.classes_.tolist() == sorted(WARM)
    assert model.score(*arrays(WARM, 10, seed=3)) > 0.8
    model.partial_fit(*arrays(COLD, 16))
    assert model.classes_.tolist() == sorted((*WARM, *COLD))
    images, labels = arrays((*WARM, *COLD), 10, seed=3)
    chances = model.predict_proba(images)
    assert chances.shape == (50, 5)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert (model.predict(images) == labels).mean() > 0.75
    assert list(ht.Bank.open(tmp_path / "bank", model=resnet()).tasks) == ["task 1", "task 2"]


def test_known_classes_extend_their_task_and_a_lonely_one_the_last() -> None:
    model = classifier().fit(*arrays(("red", "green"), 12))
    model.partial_fit(*arrays(("red", "dark"), 12, seed=2))
    assert model.classes_.tolist() == ["dark", "green", "red"]
    (info,) = model.bank_.tasks.values()
    assert info.classes == ("green", "red", "dark")
    assert info.images == 22 + 11 + 12  # one of the second part is held out


def test_partial_fit_begins_too_and_labels_may_be_numbers() -> None:
    images, _ = arrays(("red", "green"), 12)
    model = classifier().partial_fit(images, np.arange(24) // 12, classes=[0, 1])
    assert model.classes_.tolist() == [0, 1]
    assert model.predict(images[:2]).dtype.kind == "i"
    with refused(ConfigError, problem="labels of partial_fit", found="7"):
        model.partial_fit(images, np.full(24, 7), classes=[0, 1])


def test_parameters_are_those_of_scikit_learn() -> None:
    model = classifier()
    assert set(model.get_params()) == {"path", "model", "cut", "trunk", "preprocessing", "method", "epochs", "seed"}
    assert clone(model.set_params(method="head"), safe=False).method == "head"
    with refused(ConfigError, problem="'metod'"):
        model.set_params(metod="head")


def test_scikit_learn_splits_and_scores_it() -> None:
    images, labels = arrays(("red", "green"), 8)
    model = classifier().set_params(method="head")
    assert is_classifier(model)
    assert cross_val_score(model, images, labels, cv=2).tolist() == [1, 1]
    pictured = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
    assert cross_val_predict(model, pictured, labels, cv=2, method="predict_proba").shape == (16, 2)


def test_labels_with_bytes_that_are_no_text() -> None:
    images, labels = arrays(("red", "green"), 8)
    odd = np.where(labels == "red", os.fsdecode(b"caf\xe9"), "b")
    model = classifier().set_params(method="head").fit(images, odd)
    assert model.predict(images).tolist() == odd.tolist()
    np.testing.assert_allclose(model.predict_proba(images).sum(1), 1)
    model.partial_fit(images, odd)
    assert list(model.bank_.tasks) == ["task 1"]


def test_a_temporary_bank_goes_with_its_object() -> None:
    import gc

    model = classifier().set_params(method="head", epochs=1).fit(*arrays(WARM, 4))
    place = model.bank_.path
    assert place.is_dir()
    del model
    gc.collect()
    assert not place.exists()


def test_unfitted() -> None:
    with pytest.raises(AttributeError):
        classifier().predict(arrays(WARM, 1)[0])
