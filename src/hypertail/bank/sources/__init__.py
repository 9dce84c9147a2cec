"""Where backbones come from."""
