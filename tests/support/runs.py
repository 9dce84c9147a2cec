"""Runs of tests: a folder of run directories, loose settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.listener import Listener
from hypertail.lab.experiments.place import DataPlace, Place
from hypertail.lab.experiments.run import Existing, execute
from hypertail.lab.records.runfile import RunFile
from hypertail.streams import Stream, build_stream


class Calls(Listener):
    """Hands progress and notices to functions."""

    def __init__(
        self,
        progress: Callable[[int, int, str], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> None:
        self._progress, self._on_notice = progress, on_notice

    def progress(self, done: int, total: int, text: str) -> None:
        if self._progress is not None:
            self._progress(done, total, text)

    def notice(self, text: str) -> None:
        if self._on_notice is None:
            super().notice(text)
        else:
            self._on_notice(text)


def run_in(
    out: Path,
    config: RunConfig,
    *,
    stream: Callable[[], Stream] | None = None,
    existing: Existing = "error",
    progress: Callable[[int, int, str], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
    shared: Any = None,
    precisions: Any = None,
    data: DataPlace = DataPlace(),  # noqa: B008 -- immutable
    **place: Any,
) -> RunFile:
    """Run `config` in `out / config.run_name`; `place` are fields of `Place`."""
    return execute(
        config,
        out / config.run_name,
        Place(data, **place),
        existing=existing,
        stream=stream,
        shared=shared,
        precisions=precisions,
        listener=Calls(progress, on_notice),
    )


def changed(config: RunConfig, **options: Any) -> RunConfig:
    """The same run with other values for the options that its strategy has."""
    return replace(config, options=config.options.updated(options))


def few_digits(experiences: int, images: int) -> Stream:
    """The first experiences of digits with a few images each: `released` generates one tail per image."""
    few = []
    for experience in build_stream("digits", experiences=experiences):
        rows = torch.arange(images)
        few.append(replace(experience, train=experience.train.subset(rows), test=experience.test.subset(rows)))
    return Stream("digits", tuple(few), few[0].image_shape)
