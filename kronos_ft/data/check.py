"""The text that `kronos-ft data check` prints about a source."""

from .candles import CandleReport, CandleSeries
from .columns import FEATURES
from .quality import DEFECTS
from .rhythm import duration


def describe(report: CandleReport) -> list[str]:
    """Lines that describe one table: range, step, gaps, defects with row numbers, remarks."""
    quality = report.quality
    lines = [f"{report.name}" + (f" [{report.symbol}]" if report.symbol not in report.name else "")]
    used = [
        meaning if name.lower() in (meaning, "timestamps") else f"{meaning} <- {name}"
        for meaning, name in report.columns.items()
    ]
    lines.append(f"  columns   {', '.join(used)}")
    if report.unused:
        lines.append(f"  not used  {', '.join(report.unused)}")
    out = quality.rows_read - quality.rows_kept
    lines.append(f"  rows      {quality.rows_read:,} read" + f", {quality.rows_kept:,} kept" * bool(out))
    if report.step_seconds:
        lines.append(f"  range     {report.first} to {report.last} UTC, one bar every {duration(report.step_seconds)}")
        longest = duration(report.longest_gap_seconds)
        gaps = f"{report.gaps:,} gaps, {report.missing_bars:,} bars missing, longest {longest}"
        closed = "; nights, weekends and holidays count as gaps" if report.market == "session" else ""
        lines.append(f"  market    {report.market}, {gaps if report.gaps else 'no gaps'}{closed}")
        if report.irregular_steps:
            lines.append(f"  steps     {report.irregular_steps:,} are not a multiple of the step")
        if report.zero_volume_share or report.flat_share:
            lines.append(f"  bars      {report.zero_volume_share:.1%} without volume, {report.flat_share:.1%} flat")
    if not quality.was_sorted:
        lines.append("  order     not sorted by time: sorted now")
    if quality.exact_duplicates:
        lines.append(f"  repeated  {quality.exact_duplicates:,} exact duplicates removed")
    for kind, defect in quality.defects.items():
        more = ", ..." if defect.count > len(defect.rows) else ""
        rows = ", ".join(str(row) for row in defect.rows)
        lines.append(
            f"  DEFECT    {DEFECTS[kind][0]}: {defect.count:,} rows ({report.row_word} {rows}{more}): {defect.action}"
        )
    lines.extend(f"  note      {remark}" for remark in quality.remarks)
    return lines


def _last_bar(one: CandleSeries) -> list[str]:
    """The last bar as it was read; nothing for a table without bars."""
    if not len(one):
        return []
    values = ", ".join(f"{name} {value:,.10g}" for name, value in zip(FEATURES, one.values[-1], strict=True))
    return [f"  last bar  {str(one.timestamps[-1].astype('datetime64[s]')).replace('T', ' ')} UTC: {values}"]


def check(series: list[CandleSeries], window: int) -> tuple[list[str], bool]:
    """Describes and judges every table.

    Args:
        series (`list` of [`CandleSeries`]): from [`inspect_candles`].
        window (`int`): bars in a training window.

    Returns:
        the lines to print, and whether all tables pass.
    """
    lines, passes = [], True
    for one in series:
        lines += [*describe(one.report), *_last_bar(one)]
        reasons = one.report.rejections()
        if len(one) < window and len(one) >= 2:
            reasons.append(f"{len(one)} usable bars are fewer than one window of {window} (lookback + horizon + 1)")
        remedy = " (policies drop and repair accept such tables)" if one.report.policy == "error" else ""
        if reasons:
            passes = False
            has_rows = one.report.quality.defects and one.report.policy == "error"
            lines.append(f"  REJECTED  {'; '.join(reasons)}{remedy if has_rows else ''}")
        else:
            lines.append(f"  OK        under policy {one.report.policy}")
    return lines, passes
