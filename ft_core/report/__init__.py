"""The report of a run: a folder becomes facts, facts become verdicts and advice, and both become Markdown and HTML."""
