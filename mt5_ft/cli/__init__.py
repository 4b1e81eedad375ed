"""The `mt5-ft` command: one file per group of commands."""
