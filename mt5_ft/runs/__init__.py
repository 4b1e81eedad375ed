"""A training run: from settings to a finished run folder, with its plan of time, memory and disk."""
