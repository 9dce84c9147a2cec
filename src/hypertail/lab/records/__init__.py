"""The record of a run: run.json."""
