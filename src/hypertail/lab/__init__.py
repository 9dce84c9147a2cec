"""The researcher's face: configurations, runs, sweeps, tables, figures, reports."""
