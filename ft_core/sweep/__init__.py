"""Search over settings: a space in YAML, trials that are whole runs, on record in SQLite. Needs the extra `sweep`."""
