"""Learning one task: steps, folding and rounding, calibration."""
