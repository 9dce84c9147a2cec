"""Which task an image belongs to, and whether to any."""
