"""Choosing switches of the method on held-out data, over whole streams (Appendix F)."""
