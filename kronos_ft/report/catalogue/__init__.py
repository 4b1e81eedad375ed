"""The texts of reports on the runs of this program, in two languages."""
