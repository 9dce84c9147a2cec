"""Strategies as they are offered: options, words, colour, builder."""
