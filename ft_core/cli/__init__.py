"""The command line: settings from preset, YAML and flags, one-line errors, and the program loop."""
