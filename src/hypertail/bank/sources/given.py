"""A backbone from a module of the user's own."""

from __future__ import annotations

import copy

import torch
from torch import nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import ConfigError
from hypertail.nets.body import without_classifier
from hypertail.nets.channels import feature_axis
from hypertail.nets.cut import check_cut
from hypertail.nets.decompose import decompose
from hypertail.nets.trace import cut_names
from hypertail.seeds import generator


def given_backbone(
    model: nn.Module,
    cut: str | None,
    *,
    tail: nn.Module | None = None,
    preprocessing: Preprocessing | None = None,
) -> Backbone:
    """A module cut in two, on copies: the module itself is not changed.

    Args:
        model: images (n, 3, s, s) -> logits or vectors; or its trunk, where `tail` is given.
        cut: name of the first module of the tail; None with `tail`.
        tail: features -> logits or vectors.
        preprocessing: of images; 224 pixels and ImageNet's mean and deviation by default.

    Raises:
        ConfigError: it cannot be cut there, does not take images of that size, or shares layers between the halves.
    """
    wanted = preprocessing or Preprocessing()
    whole = _copied(model)
    probe = probe_batch(wanted)
    if tail is None:
        if cut is None:
            raise ConfigError(
                "cut of the model",
                required="the name of the first module that tasks may change",
                found="none",
                hint=f"One of {', '.join(_some_names(whole))}; or cut='auto'.",
            )
        try:
            trunk, top = decompose(whole, cut=cut)
        except (RuntimeError, TypeError) as error:
            raise _unfit(wanted, error) from error
        _runs(whole, probe, wanted)
        check_cut(whole, trunk, top, probe)
    else:
        trunk, top = whole, _copied(tail)
        _runs(trunk, probe, wanted)
        _check_fit(trunk, top, probe)
    with torch.no_grad():
        features = trunk(probe.clone())
        body, _ = without_classifier(top, features)
        width = body(features.clone()).shape[1]
    return Backbone(trunk, body, wanted, width, "given", cut or "", axis=feature_axis(body, features))


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model).cpu().eval()
    except Exception as error:  # whatever the user's module holds
        raise ConfigError(
            f"copy of the {type(model).__name__}",
            required="a module that copy.deepcopy can copy",
            found=_first_line(error),
            hint="Use torch.nn.utils.parametrizations.weight_norm (or spectral_norm) in place of "
            "torch.nn.utils.weight_norm, or remove_weight_norm; and keep no computed tensors as attributes.",
        ) from error


def probe_batch(preprocessing: Preprocessing) -> torch.Tensor:
    """Two images of noise as a trunk takes them."""
    size = preprocessing.size
    return torch.rand(2, 3, size, size, generator=generator(0, "probe batch"))


def _runs(model: nn.Module, probe: torch.Tensor, preprocessing: Preprocessing) -> None:
    try:
        with torch.no_grad():
            model(probe.clone())
    except Exception as error:  # whatever the user's code raises
        raise _unfit(preprocessing, error) from error


def _check_fit(trunk: nn.Module, tail: nn.Module, probe: torch.Tensor) -> None:
    hint = "Cut the model so that tail(trunk(images)) gives what it gives."
    with torch.no_grad():
        features = trunk(probe.clone())
        if not isinstance(features, torch.Tensor):
            raise ConfigError("output of the trunk", required="one tensor", found=type(features).__name__, hint=hint)
        try:
            tail(features.clone())
        except Exception as error:  # whatever the user's code raises
            raise ConfigError(
                "tail of the bank",
                required=f"one that takes what the trunk gives, shape {tuple(features.shape)} of two images",
                found=_first_line(error),
                hint=hint,
            ) from error


def _unfit(preprocessing: Preprocessing, error: Exception) -> ConfigError:
    size = preprocessing.size
    return ConfigError(
        "model of the bank",
        required=f"one that takes images (n, 3, {size}, {size})",
        found=_first_line(error),
        hint="Give the size it was trained at: preprocessing=Preprocessing(size=32, mean=..., std=...).",
    )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


def _some_names(model: nn.Module) -> list[str]:
    if isinstance(model, nn.Sequential):
        return [name for name, _ in model.named_children()][1:]
    try:
        return cut_names(model)
    except ConfigError:
        return [name for name, _ in model.named_children()]
