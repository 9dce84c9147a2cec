"""Inputs of a strategy, computed once and kept."""

from hypertail.training.features.cache import FeatureCache

__all__ = ["FeatureCache"]
