"""The `kronos-ft` command: one file per group of commands."""
