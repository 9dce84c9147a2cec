"""Choosing options of a strategy on held-out data, over whole streams (Appendix F)."""
