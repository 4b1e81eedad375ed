"""The rules of the report that hold for every run, a file for each subject."""
