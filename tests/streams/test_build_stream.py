"""Every stream by name: its classes, its order, its splits and its transforms."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.seeds import generator
from hypertail.streams import STREAMS, Examples, Experience, Stream, build_stream, experience_from_folder
from hypertail.streams.sources.named import DATASETS, Augment
from support.errors import Texts, refused
from support.image_sources import noise_image, write_classes, write_folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The named datasets, every image of them random."""
    root = tmp_path_factory.mktemp("hub")
    write_classes(root, "uoft-cs/cifar100", 100, train=5, test=1, columns=("img", "fine_label"))
    write_classes(root, "uoft-cs/cifar10", 10, columns=("img", "label"))
    write_classes(root, "zh-plus/tiny-imagenet", 200, train=2, test=1, test_split="valid", size=(64, 64))
    write_classes(root, "zalando-datasets/fashion_mnist", 10, size=(28, 28), mode="L")
    write_classes(root, "ufldl-stanford/svhn", 10)
    write_classes(root, "tanganke/gtsrb", 43, train=2, test=1, size=(41, 37))
    return root


@pytest.fixture(scope="module", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture(autouse=True)
def _use_shared_cache(shared_cache: Path, image_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERTAIL_CACHE", str(shared_cache))


def pixels(parts: Iterable[Examples | None]) -> list[bytes]:
    return [image.numpy().tobytes() for part in parts if part is not None for image in part.images]


def class_names(stream: Stream) -> list[tuple[str, ...]]:
    return [experience.classes for experience in stream]


SPLITS = [
    ("digits", 5, 2, (1, 16, 16)),
    ("split-cifar100", 20, 5, (3, 32, 32)),
    ("split-cifar10", 5, 2, (3, 32, 32)),
    ("split-tinyimagenet", 20, 10, (3, 64, 64)),
]


@pytest.mark.parametrize(("name", "experiences", "classes", "shape"), SPLITS)
def test_split_streams_partition_their_classes(
    root: Path, name: str, experiences: int, classes: int, shape: tuple[int, int, int]
) -> None:
    stream = build_stream(name, data=root)
    assert (len(stream), stream.max_classes, stream.image_shape) == (experiences, classes, shape)
    names = [name for experience in stream for name in experience.classes]
    assert len(set(names)) == len(names) == experiences * classes
    for experience in stream:
        for part in (experience.train, experience.test):
            assert sorted(part.labels.unique().tolist()) == list(range(classes))


@pytest.mark.parametrize("name", ["digits", "split-cifar10", "noisy-cifar100", "pair:svhn,cifar10"])
def test_streams_follow_the_seed_alone(root: Path, name: str) -> None:
    first, again, other = (build_stream(name, data=root, seed=seed, validation=0.2) for seed in (0, 0, 1))
    assert class_names(first) == class_names(again) != class_names(other)
    for one, two in zip(first, again, strict=True):
        for part in ("train", "test", "validation"):
            assert torch.equal(getattr(one, part).images, getattr(two, part).images)
            assert torch.equal(getattr(one, part).labels, getattr(two, part).labels)


@pytest.mark.parametrize("name", ["digits", "split-cifar10"])
def test_validation_is_a_part_of_the_training_data(root: Path, name: str) -> None:
    without, held = build_stream(name, data=root), build_stream(name, data=root, validation=0.2)
    assert len(held) == 5
    for plain, experience in zip(without, held, strict=True):
        assert plain.validation is None
        assert experience.validation is not None
        assert sorted(pixels([plain.train])) == sorted(pixels([experience.train, experience.validation]))
        assert torch.equal(plain.test.images, experience.test.images)
        for label in range(2):
            count = int((plain.train.labels == label).sum())
            assert int((experience.validation.labels == label).sum()) == round(0.2 * count)


def test_no_image_is_in_two_sets(root: Path) -> None:
    for name in ("split-cifar10", "noisy-cifar100", "pair:cifar10,cifar10"):
        stream = build_stream(name, data=root, validation=0.2)
        found = pixels(part for e in stream for part in (e.train, e.test, e.validation))
        assert len(set(found)) == len(found)


def test_images_keep_their_classes(root: Path) -> None:
    """Row r of the made-up CIFAR-10 has class r mod 10 and its number as its pixels."""
    number = {noise_image(row).tobytes(): row for row in range(120)}
    stream = build_stream("split-cifar10", data=root)
    assert sum(len(experience.train) + len(experience.test) for experience in stream) == len(number)
    for experience in stream:
        for part, first in ((experience.train, 0), (experience.test, 100)):
            for image, label in zip(part.images, part.labels.tolist(), strict=True):
                row = number[image.permute(1, 2, 0).contiguous().numpy().tobytes()]
                assert experience.classes[label] == f"class {(row - first) % 10}"


def test_digits_are_real_and_enlarged() -> None:
    stream = build_stream("digits")
    total = sum(len(experience.train) + len(experience.test) for experience in stream)
    assert total == 1797
    for experience in stream:
        share = len(experience.test) / (len(experience.train) + len(experience.test))
        assert share == pytest.approx(0.2, abs=0.005)
        images = experience.train.images
        assert torch.equal(images[:, :, ::2, ::2], images[:, :, 1::2, 1::2])
        assert images.max() == 255


def test_digits_are_normalised_and_not_mirrored() -> None:
    digits = [experience for experience in build_stream("digits")]
    normalised = torch.cat([e.test_transform(e.train.images, generator(0)) for e in digits])
    assert normalised.mean().item() == pytest.approx(0, abs=0.02)
    assert normalised.std().item() == pytest.approx(1, abs=0.02)
    augmented = digits[0].train_transform(digits[0].train.images[:200], generator(0))
    shifted = digits[0].test_transform(
        torch.nn.functional.pad(digits[0].train.images[:200], (1, 1, 1, 1)), generator(0)
    )
    windows = shifted.unfold(2, 16, 1).unfold(3, 16, 1).flatten(2, 3)  # (n, 1, 9, 16, 16)
    assert (windows == augmented[:, :, None]).flatten(3).all(3).any(2).all()


def expected_test_image(image: Tensor, name: str) -> Tensor:
    look = DATASETS[name].preprocessing
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (look.mean, look.std))
    return (image.double() / 255 - mean) / std


@pytest.mark.parametrize(
    ("stream", "dataset"), [("split-cifar100", "cifar100"), ("split-tinyimagenet", "tiny-imagenet")]
)
def test_test_transform_only_normalises(root: Path, stream: str, dataset: str) -> None:
    experience = build_stream(stream, data=root)[0]
    found = experience.test_transform(experience.test.images, generator(0))
    assert len(found) > 0
    for image, result in zip(experience.test.images, found, strict=True):
        torch.testing.assert_close(result.double(), expected_test_image(image, dataset), rtol=0, atol=1e-5)


def test_tiny_imagenet_is_mirrored_but_not_cropped(root: Path) -> None:
    experience = build_stream("split-tinyimagenet", data=root, experiences=1)[0]
    images = experience.train.images
    plain, mirrored = (experience.test_transform(i, generator(0)) for i in (images, images.flip(3)))
    augmented = experience.train_transform(images, generator(0))
    same, flipped = ((augmented == other).flatten(1).all(1) for other in (plain, mirrored))
    assert (same ^ flipped).all()
    assert same.any()
    assert flipped.any()


def test_image_size_is_a_switch(root: Path) -> None:
    assert build_stream("split-tinyimagenet", data=root, image_size=32).image_shape == (3, 32, 32)
    assert build_stream("digits", image_size=24).image_shape == (1, 24, 24)
    assert build_stream("noisy-cifar100", data=root, image_size=16).image_shape == (3, 16, 16)


def test_noisy_stream_and_its_clean_twin_hold_the_same_images(root: Path) -> None:
    noisy, clean = (
        build_stream(name, data=root, seed=3, validation=0.2) for name in ("noisy-cifar100", "noisy-cifar100-clean")
    )
    assert class_names(noisy) == class_names(clean)
    assert [len(experience.classes) for experience in noisy] == [5] * 4
    for one, two in zip(noisy, clean, strict=True):
        parts = ((one.train, two.train), (one.test, two.test), (one.validation, two.validation))
        assert all(a and b and torch.equal(a.images, b.images) for a, b in parts)
        expected = torch.stack([expected_test_image(image, "cifar100") for image in two.test.images])
        torch.testing.assert_close(
            two.test_transform(two.test.images, generator(0)).double(), expected, rtol=0, atol=1e-5
        )


def unnormalised(experience: Experience, which: str, images: Tensor) -> Tensor:
    look = DATASETS["cifar100"].preprocessing
    mean, std = (torch.tensor(values)[:, None, None] for values in (look.mean, look.std))
    transform = experience.train_transform if which == "train" else experience.test_transform
    return transform(images, generator(0)) * std + mean


@pytest.mark.parametrize("which", ["train", "test"])
def test_noise_is_there_in_training_and_at_test(root: Path, which: str) -> None:
    clean, solarized, blurred, grey = build_stream("noisy-cifar100", data=root)
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image[:, 0, :, 16:], image[:, 1], image[:, 2] = 200, 204, 51
    image = image.expand(64, -1, -1, -1)
    plain = unnormalised(clean, which, image)
    assert plain[:, 1].max().item() == pytest.approx(0.8, abs=1e-5)
    assert unnormalised(solarized, which, image)[:, 1].max().item() == pytest.approx(0.2, abs=1e-5)
    steps = (unnormalised(blurred, which, image)[:, 0].diff(dim=-1).abs() > 0.01).sum(-1).amax()
    assert steps >= 4, "an edge one pixel wide was not spread"
    result = unnormalised(grey, which, image)
    torch.testing.assert_close(result[:, 0], result[:, 1], rtol=0, atol=1e-5)
    assert (plain[:, 0] - plain[:, 1]).abs().max() > 0.1


def test_test_images_do_not_depend_on_batch_or_generator(root: Path) -> None:
    stream = build_stream("noisy-cifar100", data=root)
    assert len(stream) == 4
    for experience in stream:
        images = experience.train.images
        assert len(images) > 7
        together = experience.test_transform(images, generator(0))
        for row in range(0, len(images), 7):
            assert torch.equal(experience.test_transform(images[row : row + 1], generator(1))[0], together[row])


def test_pair_takes_five_classes_of_each(root: Path) -> None:
    stream = build_stream("pair:fashion-mnist,gtsrb", data=root)
    assert [experience.name for experience in stream] == ["fashion-mnist", "gtsrb"]
    assert [len(experience.classes) for experience in stream] == [5, 5]
    assert stream.image_shape == (3, 32, 32)
    assert stream[0].train.images[:, :, :2].max() == 0, "28x28 images were not framed in black"


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_pair_of_one_dataset_has_different_classes(root: Path, name: str) -> None:
    first, second = build_stream(f"pair:{name},{name}", data=root)
    assert not set(first.classes) & set(second.classes)
    assert build_stream(f"pair:{name},svhn", data=root)[0].classes == first.classes


def test_folder_stream(tmp_path: Path) -> None:
    write_folder(tmp_path, {letter: 10 for letter in "abcdefghijkl"})
    stream = build_stream(f"folder:{tmp_path}", validation=0.25)
    assert [len(experience.classes) for experience in stream] == [2] * 6
    assert stream.image_shape == (3, 32, 32)
    experience = stream[0]
    assert experience.validation is not None
    assert (len(experience.train), len(experience.validation), len(experience.test)) == (12, 4, 4)
    by_five = build_stream(f"folder:{tmp_path}", classes_per_experience=5, image_size=16)
    assert [len(experience.classes) for experience in by_five] == [5, 5, 2]


def test_hub_stream_has_about_five_experiences(root: Path) -> None:
    stream = build_stream("hub:tanganke/gtsrb", data=root)
    assert [len(experience.classes) for experience in stream] == [8, 8, 8, 8, 8, 3]


def test_experience_from_folder_keeps_the_order_of_names(tmp_path: Path) -> None:
    write_folder(tmp_path, {"b": 5, "a": 5, "c": 5})
    experience = experience_from_folder(tmp_path, task=4, image_size=16, validation=0.3)
    assert (experience.task, experience.name) == (4, tmp_path.name)
    assert experience.classes == ("a", "b", "c")
    assert experience.image_shape == (3, 16, 16)
    assert experience.validation is not None
    assert (len(experience.train), len(experience.validation), len(experience.test)) == (9, 3, 3)


def test_experiences_and_classes_per_experience(root: Path) -> None:
    stream = build_stream("split-cifar10", data=root, classes_per_experience=3)
    assert [len(experience.classes) for experience in stream] == [3, 3, 4]
    assert (
        class_names(build_stream("split-cifar10", data=root, experiences=2))
        == class_names(build_stream("split-cifar10", data=root))[:2]
    )


def steps(transform: Any) -> list[str]:
    return [type(step).__name__ for step in transform.steps]


@pytest.mark.parametrize("dataset", ["svhn", "gtsrb", "cifar10"])
def test_a_hub_stream_of_a_known_dataset_has_its_preprocessing(root: Path, dataset: str) -> None:
    spec = DATASETS[dataset]
    stream = build_stream(f"hub:{spec.source.repo}", data=root)
    assert all(e.train_transform == spec.preprocessing.train_transform(32) for e in stream)
    assert all(e.test_transform == spec.preprocessing.test_transform() for e in stream)
    words = "cropped at random and mirrored half of the time" if spec.preprocessing.flip else "cropped at random"
    assert stream.reports[0].notices[-1] == f"training images are {words}"


AUGMENTED: dict[Augment, list[str]] = {
    "none": ["Normalise"],
    "crop": ["RandomCrop", "Normalise"],
    "crop-flip": ["RandomCrop", "RandomFlip", "Normalise"],
}


@pytest.mark.parametrize("augment", AUGMENTED)
@pytest.mark.parametrize("name", ["digits", "split-cifar10", "pair:svhn,cifar10", "noisy-cifar100-clean", "hub:{}"])
def test_training_images_are_augmented_as_asked(root: Path, name: str, augment: Augment) -> None:
    stream = build_stream(name.format(DATASETS["gtsrb"].source.repo), data=root, augment=augment)
    assert [steps(experience.train_transform) for experience in stream] == [AUGMENTED[augment]] * len(stream)
    assert {tuple(steps(experience.test_transform)) for experience in stream} == {("Normalise",)}


def test_noise_stays_where_nothing_is_cropped(root: Path) -> None:
    stream = build_stream("noisy-cifar100", data=root, augment="none")
    assert steps(stream[1].train_transform) == ["ToFloat", "Solarize", "Normalise"]


def test_augmentation_of_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path, {"left": 5, "right": 5})
    usual = build_stream(f"folder:{tmp_path}")
    assert steps(usual[0].train_transform) == AUGMENTED["crop-flip"]
    assert "mirrored" in usual.reports[0].notices[-1]
    assert "--augment crop" in usual.reports[0].notices[-1]
    for augment, expected in AUGMENTED.items():
        stream = build_stream(f"folder:{tmp_path}", augment=augment)
        experience = experience_from_folder(tmp_path, augment=augment)
        assert steps(stream[0].train_transform) == steps(experience.train_transform) == expected
        assert experience.report is not None
        assert stream.reports[0].notices[-1] == experience.report.notices[-1]
        assert ("mirrored" in stream.reports[0].notices[-1]) == (augment == "crop-flip")
    (report,) = build_stream(f"folder:{tmp_path}", augment="none").reports
    assert report.notices[-1] == "training images are as they are"
    assert steps(experience_from_folder(tmp_path).train_transform) == AUGMENTED["crop-flip"]


def test_an_unknown_augmentation_names_the_nearest() -> None:
    with refused(ConfigError, problem=("augmentation", "'flip'"), required="none", hint="'crop-flip'"):
        build_stream("digits", augment="flip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options", "problem", "required", "found"),
    [
        ("split-cifar10", {"experiences": 6}, ("experiences", "'split-cifar10'"), "1 to 5", "6"),
        ("split-cifar10", {"classes_per_experience": 11}, "classes per experience", "2 to 10", "11"),
        ("pair:svhn,svhn", {"classes_per_experience": 6}, ("classes", "'ufldl-stanford/svhn'"), "10", "12"),
        ("digits", {"validation": 1.0}, "validation share", "< 1", "1.0"),
        ("digits", {"validation": -0.1}, "validation share", "0 <=", "-0.1"),
        ("pair:svhn,svhn", {"classes_per_experience": 0}, "classes per experience", "2 or more", "0"),
        ("digits", {"image_size": 4}, "image size", "8 pixels", "4"),
        ("digits", {"image_size": 20}, ("image size", "'digits'"), "multiple of 8", "20"),
        ("pair:svhn", {}, "'pair:svhn'", "pair:A,B", "1"),
    ],
)
def test_options_out_of_range(
    root: Path, name: str, options: dict[str, float], problem: Texts, required: str, found: str
) -> None:
    with refused(ConfigError, problem=problem, required=required, found=found):
        build_stream(name, data=root, **options)  # type: ignore[arg-type]


def test_an_unknown_dataset_of_a_pair_names_the_nearest(root: Path) -> None:
    with refused(ConfigError, problem="'cifar'", required=("svhn", "gtsrb"), hint="'cifar10'"):
        build_stream("pair:svhn,cifar", data=root)


@pytest.mark.parametrize("name", ["split-cifar", "folder", "folder:", "pair:", "digits:x", ""])
def test_unknown_stream(name: str) -> None:
    with refused(ConfigError, problem=f"unknown stream '{name}'", required=tuple(STREAMS), found=f"'{name}'"):
        build_stream(name)


def test_every_listed_stream_can_be_built(root: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 5, "b": 5})
    blanks = {"pair:A,B": "pair:svhn,gtsrb", "folder:PATH": f"folder:{tmp_path}"}
    blanks["hub:OWNER/NAME"] = "hub:uoft-cs/cifar10"
    for name, line in STREAMS.items():
        assert line
        stream = build_stream(blanks.get(name, name), data=root, experiences=1)
        assert stream.name == blanks.get(name, name)
        experience = stream[0]
        images = experience.train_transform(experience.train.images[:3], generator(0))
        assert images.dtype == torch.float32
        assert tuple(images.shape) == (3, *stream.image_shape)


@pytest.mark.slow
def test_importing_streams_is_light() -> None:
    heavy = ["PIL", "datasets", "huggingface_hub", "kornia", "pyarrow", "sklearn"]
    code = (
        f"import sys; sys.path[:0] = {sys.path}\n"
        f"import hypertail.streams; print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
