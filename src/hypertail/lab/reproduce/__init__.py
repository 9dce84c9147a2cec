"""`hypertail reproduce`: the paper's tables and figures, from runs of one's own, beside the printed values."""
