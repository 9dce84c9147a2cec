"""Whether every task still answers as it did."""
