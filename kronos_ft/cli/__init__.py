"""The `kronos-ft` command: one file a group of commands."""
