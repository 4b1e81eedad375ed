"""The training stages: from settings to a finished run folder."""
