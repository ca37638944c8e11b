"""What networks are trained towards, as pure functions with their equations."""
