"""How a task's tail is learned: head, adapter, hypernet, separate."""
