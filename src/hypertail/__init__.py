"""hypertail: continual learning with partial hypernetworks.

A network learns task after task: its first layers (trunk) are learned once and frozen, a hypernetwork generates the
last layers (tail) for each task, and a penalty on its outputs for earlier tasks keeps them from changing.

A bank:        `Bank`: learn folder by folder on a frozen model, predict, extend, certify, export, forget;
               `BankClassifier`, the same with the verbs of scikit-learn; `Preprocessing`, `Prediction`
Streams:       `build_stream`, `Stream`, `Experience`, `Examples`
Main models:   `slim_resnet18`, `decompose`, `check_cut`, `train_trunk`
The method:    `Hypernetwork`, `PartialHypernetwork`, `TaskState`, `Penalty`, `lookahead_gradients`
Strategies:    `tuned_hypernet`, a `PartialHypernet` with the values that were measured; `Naive`, `EWC`, `LatentReplay`,
               `Separate`, `Joint`; their parts `Strategy`, `Lesson`, `Task`, `Optimisation`,
               `Trunk`
Training:      `learn_experience`; `Trainer`, `Result`, `FeatureCache` for a whole stream
Errors:        `HypertailError` and its kinds in `hypertail.errors`

Configuration, tables, figures and reports are in `hypertail.lab`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypertail.bank import Bank, BankClassifier, Prediction, Preprocessing
    from hypertail.errors import HypertailError
    from hypertail.hyper import Hypernetwork, PartialHypernetwork, Penalty, TaskState, lookahead_gradients
    from hypertail.nets import check_cut, decompose, slim_resnet18
    from hypertail.strategies import (
        EWC,
        Joint,
        LatentReplay,
        Lesson,
        Naive,
        Optimisation,
        PartialHypernet,
        Separate,
        Strategy,
        Task,
        Trunk,
        tuned_hypernet,
    )
    from hypertail.streams import Examples, Experience, Stream, build_stream
    from hypertail.training import FeatureCache, Result, Trainer, learn_experience, train_trunk
else:
    # Imported when they are asked for: torch takes seconds, and an interrupt meanwhile should find the program ready.
    _ROOMS = ("errors", "seeds", "storage", "nets", "streams", "hyper", "strategies", "training", "bank")

    def __getattr__(name: str) -> object:
        """A public name, from the room that has it, or a room."""
        from importlib import import_module

        if name in _ROOMS:
            return import_module(f"hypertail.{name}")
        if name in __all__:
            for room in _ROOMS:
                module = import_module(f"hypertail.{room}")
                if name in vars(module):
                    globals()[name] = vars(module)[name]
                    return globals()[name]
        raise AttributeError(f"module 'hypertail' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_ROOMS})


__version__ = "0.1.0"

__all__ = [
    "EWC",
    "Bank",
    "BankClassifier",
    "Examples",
    "Experience",
    "FeatureCache",
    "Hypernetwork",
    "HypertailError",
    "Joint",
    "LatentReplay",
    "Lesson",
    "Naive",
    "Optimisation",
    "PartialHypernet",
    "PartialHypernetwork",
    "Penalty",
    "Prediction",
    "Preprocessing",
    "Result",
    "Separate",
    "Strategy",
    "Stream",
    "Task",
    "TaskState",
    "Trainer",
    "Trunk",
    "build_stream",
    "check_cut",
    "decompose",
    "learn_experience",
    "lookahead_gradients",
    "slim_resnet18",
    "train_trunk",
    "tuned_hypernet",
]
