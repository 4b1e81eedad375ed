"""`mt5-ft report`: how a run went, or how several compare."""

from collections.abc import Sequence

from ft_core.report.command import report_command as report


def report_command(words: Sequence[str]) -> int:
    """`mt5-ft report RUN [RUN ...] [--lang zh|en] [--output_dir DIR]`."""
    return report("mt5-ft", words, "mt5_ft.report.views")
