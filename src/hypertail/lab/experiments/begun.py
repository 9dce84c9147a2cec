"""`config.json` of a run directory: the options of its run, and what was decided when it began."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import CHECKPOINT, OPTIONS
from hypertail.lab.experiments.place import DataPlace, Place, is_relative
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.nets.models import USUAL, model_names
from hypertail.recipes.catalogue import known_recipe
from hypertail.storage.atomic import write_text
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.storage.jsonfile import read_json
from hypertail.storage.seal import KEY, check_seal, sealed
from hypertail.streams.sources.unreadable import Unreadable
from hypertail.training.interval import Interval
from hypertail.training.precision import Precision

_KEYS = ("precision", "precision_of_trunk", "threads", "data", "place", KEY)


class UnregisteredError(ConfigError):
    """A run is of a strategy or a model of one's own, which this process does not know."""


@dataclass(frozen=True)
class Begun:
    """A run that began. What older versions did not record is None.

    Attributes:
        config: its options.
        precisions: of its steps and its trunk.
        threads: CPU threads.
        data: what it learns.
        place: where and how it is executed.
        trunks: folder of the trunks that runs share, from the run directory; None for `trunks` beside it.
    """

    config: RunConfig
    precisions: Precisions | None = None
    threads: int | None = None
    data: DataRecord | None = None
    place: Place | None = None
    trunks: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The options, and beside them what is known."""
        content = self.config.to_json() | {"stream": _written(self.config.stream)}
        if self.precisions is not None:
            content |= {"precision": self.precisions.steps, "precision_of_trunk": self.precisions.trunk}
        if self.threads is not None:
            content["threads"] = self.threads
        if self.data is not None:
            content["data"] = self.data.to_json()
        if self.place is not None:
            content["place"] = _place_to_json(self.place, self.config.stream)
            if self.trunks is not None:
                content["place"]["trunks"] = _written(self.trunks)
        return content

    @classmethod
    def from_json(cls, content: Any) -> Begun:
        """What `to_json` gave, or an earlier version, which had the options alone.

        Raises:
            UnregisteredError: its strategy or model is not known in this process.
            ConfigError, KeyError, TypeError, AttributeError, ValueError: it did not, or was changed since.
        """
        options = content
        if isinstance(content, dict):
            check_seal(content)
            options = {name: value for name, value in content.items() if name not in _KEYS}
            options["stream"] = _name(options["stream"])
            _check_registered(options)
        begun = cls(RunConfig.from_json(options))
        if "precision" in content:
            steps = _precision(content["precision"])
            begun = replace(begun, precisions=Precisions(steps, _precision(content.get("precision_of_trunk", steps))))
        if "threads" in content:
            begun = replace(begun, threads=int(content["threads"]))
        if "place" in content:
            place = content["place"]
            trunks = _name(place.get("trunks"))
            if not isinstance(trunks, str | None):
                raise TypeError(f"trunks of the place: {str(trunks)[:60]!r}")
            begun = replace(begun, place=_place_from_json(place), trunks=trunks)
        return replace(begun, data=DataRecord.from_json(content["data"])) if "data" in content else begun

    def with_trunks(self, trunks: Path, directory: Path) -> Begun:
        """The same, with the folder of trunks that the run in `directory` shares with others."""
        try:
            # both may move together
            return replace(self, trunks=os.path.relpath(trunks.resolve(), directory.resolve()))
        except ValueError:  # on another drive
            return replace(self, trunks=str(trunks.resolve()))

    def trunks_of(self, directory: Path) -> Path:
        """The folder of the trunks that the run in `directory` shares with others."""
        return directory.parent / "trunks" if self.trunks is None else directory / self.trunks

    def write(self, directory: Path) -> None:
        """Write the `config.json` of a run directory."""
        write_text(directory / OPTIONS, json.dumps(sealed(self.to_json()), indent=1) + "\n")


def _check_registered(options: Mapping[str, Any]) -> None:
    strategy, model = options.get("strategy"), options.get("model", USUAL)
    unknown = []
    if isinstance(strategy, str) and known_recipe(strategy) is None:
        unknown.append(f"strategy '{strategy}'")
    if isinstance(model, str) and model not in model_names():
        unknown.append(f"model '{model}'")
    if unknown:
        raise UnregisteredError(
            f"{' and '.join(unknown)} of a run",
            required="one that is registered in this process",
            found="none of that name",
            hint="Register it in a script of yours that then calls hypertail.cli.main(['resume', DIRECTORY]).",
        )


def _written(name: str) -> str | dict[str, str]:
    """A name as JSON holds it: that of a file which is not UTF-8 by its bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return {"bytes": os.fsencode(name).hex()}
    return name


def _name(value: Any) -> Any:
    """What `_written` was given; anything else is left as it is."""
    return os.fsdecode(bytes.fromhex(value["bytes"])) if isinstance(value, dict) else value


def _place_to_json(place: Place, stream: str) -> dict[str, Any]:
    def absolute(path: Path | None) -> str | dict[str, str] | None:
        return None if path is None else _written(str(path.expanduser().absolute()))

    # where a relative folder begins decides what is found from elsewhere, and is nothing to other streams
    base = {"base": absolute(place.data.base or Path.cwd())} if is_relative(stream) else {}
    return {
        **base,
        "data": absolute(place.data.root),
        "cache": place.data.cache,
        "image_column": place.data.image_column,
        "label_column": place.data.label_column,
        "on_bad_image": place.data.on_bad_image,
        "device": place.device,
        "cache_bytes": place.cache_bytes,
        "checkpoint_every": str(place.checkpoint_every),
        "command": place.command.encode(errors="replace").decode(),
        "weights": absolute(place.weights),
    }


def _place_from_json(content: Mapping[str, Any]) -> Place:
    kinds = {"data": str, "cache": bool, "image_column": str, "label_column": str, "device": str, "cache_bytes": int}
    kinds |= {"weights": str, "base": str}
    found = {}
    for name, kind in kinds.items():
        found[name] = _name(content.get(name))
        if not isinstance(found[name], kind | None) or (kind is int and isinstance(found[name], bool)):
            raise TypeError(f"{name} of the place: {str(found[name])[:60]!r}")
    root, weights, base = (None if found[name] is None else Path(found[name]) for name in ("data", "weights", "base"))
    bad = content.get("on_bad_image", "error")
    Unreadable(bad)  # refuses what is no policy
    return Place(
        DataPlace(root, found["cache"], found["image_column"], found["label_column"], bad, base),
        found["device"] or "cpu",
        cache_bytes=found["cache_bytes"],
        command=str(content.get("command", "")),
        checkpoint_every=Interval.parse(str(content.get("checkpoint_every", Interval()))),
        weights=weights,
    )


def read_begun(directory: Path) -> Begun:
    """What a run directory says of its run; the precisions of an older one are those of its checkpoint or result.

    Raises:
        UnregisteredError: its strategy or model is not known in this process.
        ConfigError: `config.json` is damaged, or has options that this version does not know.
        CheckpointError: an older run's checkpoint or result is damaged.
    """
    begun = _read(directory / OPTIONS)
    return begun if begun.precisions is not None else replace(begun, precisions=_older(directory))


def read_options(path: Path) -> RunConfig:
    """The configuration in a run directory's `config.json`.

    Raises:
        ConfigError: it is damaged, or has options that this version does not know.
    """
    return _read(path).config


def _read(path: Path) -> Begun:
    try:
        return Begun.from_json(read_json(path))
    except UnregisteredError as error:
        raise UnregisteredError(
            f"{error.problem}, {path.parent}", required=error.required, found=error.found, hint=error.hint
        ) from error
    except (ConfigError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise ConfigError(
            f"options of a run, {path}",
            required="those that hypertail writes, as JSON",
            found=f"others ({error})",
            hint="Restore the file, or delete the run directory to start again.",
        ) from error


def _older(directory: Path) -> Precisions | None:
    """Versions that timed the model kept the outcome elsewhere; None where no experience was learned yet."""
    if (directory / FILE_NAME).is_file():
        return precisions_in(RunFile.read(directory / FILE_NAME).extra)
    if (directory / CHECKPOINT).is_file():
        return precisions_in(load_checkpoint(directory / CHECKPOINT)[1])
    return None


def precisions_in(facts: Mapping[str, Any]) -> Precisions:
    """The precisions in the facts of a checkpoint or a `run.json`; before there was a choice, everything was full."""
    steps = facts.get("precision", "full")
    try:
        return Precisions(_precision(steps), _precision(facts.get("precision_of_features", steps)))
    except ValueError:
        return Precisions("full", "full")


def _precision(value: object) -> Precision:
    kinds: tuple[Precision, ...] = get_args(Precision)
    for kind in kinds:
        if value == kind:
            return kind
    raise ValueError(f"precision {str(value)[:60]!r}")
