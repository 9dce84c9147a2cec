"""The directory of a bank: immutable files, generations, and one manifest."""

from hypertail.bank.store.change import Change
from hypertail.bank.store.kept import Kept
from hypertail.bank.store.manifest import BACKBONE, Entry, FileRef, Manifest, TaskRef, in_effect
from hypertail.bank.store.store import Store
from hypertail.bank.store.verify import Problem, Report, verify

__all__ = [
    "BACKBONE",
    "Change",
    "Entry",
    "FileRef",
    "Kept",
    "Manifest",
    "Problem",
    "Report",
    "Store",
    "TaskRef",
    "in_effect",
    "verify",
]
