"""The directory of a bank: immutable files, generations, and one manifest."""
