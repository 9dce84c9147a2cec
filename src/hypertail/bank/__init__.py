"""A bank: one directory that holds a frozen backbone and all tasks that were learned on it, for years."""
