"""The run folder: its record, its lock, how a run resumes, and the processes of a launch."""
