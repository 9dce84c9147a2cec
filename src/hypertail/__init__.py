"""hypertail: continual learning with partial hypernetworks."""

__version__ = "0.1.0"
