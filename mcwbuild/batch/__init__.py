"""Many models: a list of them, each converted by a run of its own, one summary."""
