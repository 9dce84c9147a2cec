"""A bank with the verbs of scikit-learn."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from hypertail.bank.bank import Bank
from hypertail.bank.images.labels import class_name
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import ConfigError

Labels = npt.NDArray[Any]


class BankClassifier:
    """Classifies images, and learns more classes batch by batch without the old images.

    `fit` learns one task; each `partial_fit` with classes that are new learns another one, and images of classes that
    are known extend theirs. Nobody tells the task of an image to `predict`: it is inferred.

    Args:
        path: of the bank's directory, which must be new; a temporary one by default, which goes with the object.
        model: any module, as for `Bank.create`.
        cut: where it is cut.
        trunk: a source in place of a model.
        preprocessing: of images.
        method: of `Bank.learn`.
        epochs: of `Bank.learn`.
        seed: of all that is random.

    Example:
        >>> import numpy as np, hypertail as ht
        >>> rows = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
        >>> labels = np.array(["a", "b"] * 20)
        >>> classifier = ht.BankClassifier(method="head", epochs=1).fit(rows, labels)
        >>> classifier.classes_.tolist(), classifier.predict(rows[:3]).shape
        (['a', 'b'], (3,))
    """

    _estimator_type = "classifier"
    """What scikit-learn before 1.6 asks for."""

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        model: nn.Module | None = None,
        cut: str | None = None,
        trunk: str | None = None,
        preprocessing: Preprocessing | None = None,
        method: str = "adapter",
        epochs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.path, self.model, self.cut, self.trunk = path, model, cut, trunk
        self.preprocessing, self.method, self.epochs, self.seed = preprocessing, method, epochs, seed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor."""
        names = ("path", "model", "cut", "trunk", "preprocessing", "method", "epochs", "seed")
        return {name: getattr(self, name) for name in names}

    def set_params(self, **params: Any) -> BankClassifier:
        """Other arguments; they count from the next `fit` on.

        Raises:
            ConfigError: an unknown name.
        """
        for name, value in params.items():
            if name not in self.get_params():
                raise ConfigError(
                    f"parameter '{name}' of BankClassifier",
                    required=f"one of {', '.join(self.get_params())}",
                    found=name,
                    hint="Name one of them.",
                )
            setattr(self, name, value)
        return self

    def fit(self, images: Any, labels: Any) -> BankClassifier:
        """Learn the images as one task, in a new bank.

        Args:
            images: (n, h, w, 3), (n, 3, h, w) or (n, h, w), uint8 or 0..1; or a list of PIL images or paths.
            labels: (n,), whole numbers or text.

        Raises:
            DataError: images or labels that cannot be used.
        """
        if self.path is None:
            place = Path(tempfile.mkdtemp(prefix="hypertail-bank-"))
            weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        else:
            place = Path(self.path)
        self.bank_ = Bank.create(
            place, model=self.model, cut=self.cut, trunk=self.trunk, preprocessing=self.preprocessing
        )
        self._labels: list[Any] = []
        return self.partial_fit(images, labels)

    def partial_fit(self, images: Any, labels: Any, classes: Any = None) -> BankClassifier:
        """Learn more images.

        Args:
            images: as for `fit`.
            labels: of classes that are known, of new ones, or both.
            classes: all labels that occur, as scikit-learn wants them at the first call; not needed.

        Raises:
            ConfigError: a label that is not among `classes`.
            DataError: a single new class where no task was learned.
        """
        if not hasattr(self, "bank_"):
            return self.fit(images, labels)
        values = np.asarray(labels)
        if classes is not None and not set(values.tolist()) <= {*np.asarray(classes).tolist(), *self._labels}:
            raise ConfigError(
                "labels of partial_fit",
                required="labels among `classes`",
                found=", ".join(map(str, sorted(set(values.tolist()) - set(np.asarray(classes).tolist())))),
                hint="Leave `classes` out, or name all of them.",
            )
        fresh = [value for value in dict.fromkeys(values.tolist()) if value not in self._labels]
        for name, info in self.bank_.tasks.items():
            known = [value for value in self._labels if class_name(value) in info.classes]
            self._extend(name, images, values, known)
        if len(fresh) == 1 and self.bank_.tasks:
            self._extend(next(reversed(self.bank_.tasks)), images, values, fresh)
        elif fresh:
            rows = np.isin(values, fresh)
            numbers = itertools.count(len(self.bank_.tasks) + 1)
            self.bank_.learn(
                next(name for name in map("task {}".format, numbers) if name not in self.bank_.tasks),
                _chosen(images, values, rows),
                method=self.method,
                epochs=self.epochs,
                seed=self.seed,
            )
        self._labels += fresh
        return self

    @property
    def classes_(self) -> Labels:
        """All labels, sorted."""
        return np.array(sorted(self._labels))

    def predict(self, images: Any) -> Labels:
        """The most likely label of each image, (n,)."""
        chosen: Labels = self.classes_[self.predict_proba(images).argmax(1)]
        return chosen

    def predict_proba(self, images: Any) -> npt.NDArray[np.float64]:
        """Probabilities (n, classes), in the order of `classes_`: of the task, times those of its classes."""
        order = {class_name(label): column for column, label in enumerate(self.classes_)}
        rows = [
            np.array([[row.get(name, 0.0) for name in order] for row in part])
            for part in self.bank_.probabilities(images)
        ]
        return np.concatenate(rows)

    def score(self, images: Any, labels: Any) -> float:
        """Share of images whose label is predicted."""
        return float((self.predict(images) == np.asarray(labels)).mean())

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn (1.6 and later) asks of an estimator before it splits data or scores."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        images = InputTags(two_d_array=False, three_d_array=True)
        return Tags("classifier", TargetTags(required=True), classifier_tags=ClassifierTags(), input_tags=images)

    def _extend(self, name: str, images: Any, values: Labels, labels: list[Any]) -> None:
        rows = np.isin(values, labels) if labels else np.zeros(len(values), dtype=bool)
        if rows.any():
            self.bank_.extend(name, _chosen(images, values, rows), seed=self.seed)


def _chosen(images: Any, values: Labels, rows: npt.NDArray[np.bool_]) -> tuple[Any, list[str]]:
    some = images[rows] if isinstance(images, np.ndarray) else [images[row] for row in np.flatnonzero(rows)]
    return some, [class_name(value) for value in values[rows]]
