"""The `mt5-ft` command: one file a group of commands."""
