"""Summaries: generation, files of predictions, scores."""
