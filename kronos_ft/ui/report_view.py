"""The report tab: a run's report in the language of the page, in a frame without scripts or network access."""

import html
import shlex
from collections.abc import Mapping
from pathlib import Path

from ft_core.report.write import make_report
from ft_core.runs.folder import RUN_FILE

from ..models.found_model import STAGES, FoundModel
from ..report.views import VIEWS
from .markup import command, notice, text

# the frame's own rule, beside the sandbox: nothing is fetched, not even a picture of another host
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


def find_runs(shown: FoundModel) -> dict[str, Path]:
    """The recorded runs in a run folder by stage: the folder itself, or its stages."""
    if shown.run is None:
        return {}
    if (shown.run / RUN_FILE).is_file():
        return {"quantiles" if shown.is_head else "predictor": shown.run}
    return {stage: shown.run / stage for stage in STAGES if (shown.run / stage / RUN_FILE).is_file()}


def framed(report: str, title: str) -> str:
    """A report in a sandboxed frame, without scripts, forms, links out or requests."""
    guarded = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">{report}'
    return f'<iframe class="kf-report" sandbox="" title="{text(title)}" srcdoc="{html.escape(guarded)}"></iframe>'


def report_tab(shown: FoundModel, words: Mapping[str, str]) -> str:
    """The report of each stage, made from its run folder in the language of the page; the command that writes one where
    nothing is recorded, or the line that says why a run cannot be read."""
    if shown.run is None:
        return notice(words["no_run"], "note")
    found = find_runs(shown)
    if not found:
        return command(words["no_report"], shlex.join(["kronos-ft", "report", str(shown.run)]))
    parts = []
    for name, run in found.items():
        if len(found) > 1:
            parts.append(f'<h3 class="kf-head">{text(words[f"stage_{name}"])}</h3>')
        try:
            parts.append(framed(make_report(run, VIEWS, words["language"]).page.to_html(), words[f"stage_{name}"]))
        except (ValueError, OSError) as error:
            parts.append(notice(str(error), "error"))
    return "".join(parts)
