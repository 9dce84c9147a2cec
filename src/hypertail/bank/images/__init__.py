"""Images of a task: read, held or opened in batches, and their features."""
