"""The report tab: a run's `report.html` in a frame that can neither run scripts nor reach a network."""

import html
import shlex
from collections.abc import Mapping
from pathlib import Path

from .markup import command, notice, text
from .shown_model import STAGES, ShownModel

REPORT_FILE = "report.html"
LARGEST_REPORT = 32 * 2**20  # bytes
# the frame's own rule, beside the sandbox: nothing is fetched, not even a picture of another host
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


def find_reports(shown: ShownModel) -> dict[str, Path]:
    """The reports in a run folder, by stage: `finetune` is the folder itself where it holds two stages."""
    if shown.run is None:
        return {}
    whole = "finetune" if (shown.run / "predictor").is_dir() else "predictor"
    places = {whole: shown.run, **{stage: shown.run / stage for stage in STAGES if (shown.run / stage).is_dir()}}
    return {name: place / REPORT_FILE for name, place in places.items() if (place / REPORT_FILE).is_file()}


def framed(report: str, title: str) -> str:
    """A report in a sandboxed frame, without scripts, forms, links out or requests."""
    guarded = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">{report}'
    return f'<iframe class="kf-report" sandbox="" title="{text(title)}" srcdoc="{html.escape(guarded)}"></iframe>'


def report_tab(shown: ShownModel, words: Mapping[str, str]) -> str:
    """Every report of the run, the command that writes one, or the line that says why one cannot be read."""
    if shown.run is None:
        return notice(words["no_run"], "note")
    found = find_reports(shown)
    if not found:
        return command(words["no_report"], shlex.join(["kronos-ft", "report", str(shown.run)]))
    parts = []
    for name, path in found.items():
        if len(found) > 1:
            parts.append(f'<h3 class="kf-head">{text(words[f"stage_{name}"])}</h3>')
        try:
            if path.stat().st_size > LARGEST_REPORT:
                raise ValueError(f"{path} is larger than 32 MiB, which no report is; open it from disk")
            parts.append(framed(path.read_text(encoding="utf-8"), words[f"stage_{name}"]))
        except (ValueError, OSError) as error:
            parts.append(notice(str(error), "error"))
    return "".join(parts)
