"""The commands of a bank, a file each."""
