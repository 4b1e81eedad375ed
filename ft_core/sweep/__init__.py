"""Hyperparameter search: space in YAML, trials are complete runs, recorded in SQLite. Needs the extra `sweep`."""
