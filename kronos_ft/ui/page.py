"""The page: fields, buttons, tabs and their events. The only module that imports gradio.

Notable:
- Each visitor's candles and forecast are in the page's session; visitors share only the model and the embedded data.
- Invalid input shows the same one-line message as the command line.
"""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr

from ft_core.io.memory import is_out_of_memory

from ..data.candles import CandleSeries
from ..forecasting.series import SymbolForecast
from ..models.found_model import FoundModel
from ..models.identity import weights_hash
from ..models.pairing import SAMPLING
from .candle_chart import HEAD_LAYERS, LAYERS, MOST_CONTEXT, candle_chart
from .candle_choice import (
    UPLOAD,
    UPLOAD_LIMIT,
    UPLOAD_TYPES,
    CandleChoice,
    describe,
    moved_origin,
    past_origin,
    series_of,
)
from .evaluation_view import evaluation_tab, find_evaluation
from .forecast_kinds import BLOCKS, BOTH, CALIBRATED, RAW, SAMPLED, AnyPredictor, ForecastKinds
from .forecast_view import ForecastChoices, make_forecast, quantile_table, remarks, summary, write_tables
from .markup import notice, text
from .report_view import report_tab

MOST_BARS, PATHS, MOST_PATHS = 256, 50, 500
END, PAST = "end", "past"
HIDDEN = {"api_visibility": "private", "show_progress": "hidden"}  # for fast events
# only system fonts: the page must not load fonts from another host
FONTS = ("system-ui", "-apple-system", "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
STYLE_FILE = Path(__file__).with_name("page.css")


def page_theme() -> gr.themes.Base:
    """Neutral colours and system fonts."""
    return gr.themes.Base(
        primary_hue="blue", neutral_hue="slate", radius_size="md", font=list(FONTS), font_mono=list(MONOSPACE)
    ).set(button_primary_background_fill="#2563a8", button_primary_background_fill_hover="#1d4f88")


def _said(outputs: int, no_memory: str) -> Callable:
    """Adds a first output with the function's error message; after an error the other outputs stay as they are.

    Args:
        outputs: number of the function's outputs.
        no_memory: message for out of memory.
    """

    def wrap(function: Callable) -> Callable:
        @functools.wraps(function)
        def said(*args: object, **options: object) -> tuple:
            try:
                found = function(*args, **options)
            except (ValueError, OSError, ImportError, RuntimeError, MemoryError) as error:
                if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                    raise
                line = no_memory if is_out_of_memory(error) else str(error)
                return notice(line, "error"), *(gr.skip() for _ in range(outputs))
            return "", *(found if isinstance(found, tuple) else (found,))

        return said

    return wrap


def chart_of(
    found: Mapping[str, SymbolForecast], layers: list[str], words: Mapping[str, str], levels: Sequence[float] = ()
) -> str:
    """The chart of one forecast, or of a calibrated and a raw one, as a card."""
    one, *others = found.values()
    first = one.origin - min(one.lookback, MOST_CONTEXT)
    context = one.series.values[first : one.origin]
    times = [*one.series.timestamps[first : one.origin], *one.times]
    raw = others[0].forecast if others else None
    drawn = candle_chart(
        context, times, words, forecast=one.forecast, raw=raw, truth=one.truth(), layers=layers, levels=levels
    )
    return f'<div class="kf-card">{drawn}</div>'


def chart_of_known(one: CandleSeries, words: Mapping[str, str]) -> str:
    """The last candles, before a forecast."""
    drawn = candle_chart(one.values[-MOST_CONTEXT:], one.timestamps[-MOST_CONTEXT:], words)
    return f'<div class="kf-card">{drawn}</div>'


class Page:
    """Builds the page of one model.

    Args:
        shown ([`FoundModel`]): the model on the page.
        predictor ([`KronosPredictor`] or [`QuantilePredictor`]): its networks; a head with a sampler also offers raw
            sampled paths.
        candles ([`CandleChoice`]): the candles to choose from.
        evaluation (`Path`, *optional*): folder with an evaluation; by default found in the run at each visit.
        words: the page's texts.
        warning (`str`, *optional*): a warning about the pair of predictor and tokenizer.
        folder (`Path`): folder for downloads while the page runs.
    """

    def __init__(
        self,
        shown: FoundModel,
        predictor: AnyPredictor,
        candles: CandleChoice,
        evaluation: Path | None,
        words: Mapping[str, str],
        warning: str | None,
        folder: Path,
    ):
        self.shown, self.predictor, self.candles = shown, predictor, candles
        self.evaluation, self.words, self.warning, self.folder = evaluation, words, warning, folder
        self.kinds = ForecastKinds(predictor)
        self.sha256 = weights_hash(predictor.model)

    def build(self) -> gr.Blocks:
        """Builds the page."""
        words = self.words
        with gr.Blocks(
            title=words["title"], analytics_enabled=False, delete_cache=(600, 3600), fill_width=True
        ) as page:
            gr.HTML(self._header())
            with gr.Tabs():
                with gr.Tab(words["tab_forecast"], id="forecast"):
                    self._forecast_tab(page)
                with gr.Tab(words["tab_evaluation"], id="evaluation"):
                    evaluation = gr.HTML(elem_id="evaluation")
                with gr.Tab(words["tab_report"], id="report"):
                    report = gr.HTML(elem_id="report")
            # read again at each visit: a new evaluation or report may exist
            page.load(self.evaluation_html, None, evaluation, **HIDDEN)
            page.load(lambda: report_tab(self.shown, words), None, report, **HIDDEN)
        return page.queue(default_concurrency_limit=1, max_size=32, api_open=False)

    def evaluation_html(self) -> str:
        """The current evaluation tab."""
        folder = self.evaluation or find_evaluation(self.shown)
        return evaluation_tab(self.shown, folder, self.words, self.sha256)

    def _header(self) -> str:
        words, shown = self.words, self.shown
        size = sum(parameter.numel() for parameter in self.predictor.model.parameters())
        facts = [words["quantile_head"]] if self.kinds.is_head else []
        facts += [f"{size:,} {words['parameters']}", self.predictor.device.type]
        if (steps := shown.steps()) is not None:
            facts.append(words["trained"].format(steps=f"{steps:,}"))
        about = text(" · ".join(facts))
        warning = notice(f"{words['warning']}: {self.warning}", "warning") if self.warning else ""
        return (
            f'<div class="kf-title"><h1>{text(words["title"])}</h1><code>{text(shown.name)}</code>'
            f"<span>{about}</span></div>{warning}"
        )

    def kind_label(self, kind: str) -> str:
        """A kind of forecast with what it is: `calibrated: quantile head`."""
        words = self.words
        if kind not in (CALIBRATED, RAW):
            return words[f"kind_{kind}"]
        sampling = SAMPLING if kind == RAW else self.predictor.sampling()
        by_head = self.kinds.is_head and kind == CALIBRATED
        what = words["by_head"] if by_head else words["by_sampling"].format(**sampling)
        return words["named"].format(name=words[f"kind_{kind}"], text=what)

    def sampling_note(self, kind: str, paths: str) -> str:
        """Why the fields T and top_p are not shown, or what they do not change."""
        words, lines = self.words, []
        if kind in (CALIBRATED, BOTH) and not self.kinds.sampling_applies(kind, paths):
            name = "unused_by_blocks" if self.kinds.is_head else "fixed_calibrated"
            lines.append(words[name].format(**self.predictor.sampling()))
        if kind in (RAW, BOTH):
            lines.append(words["fixed_raw"])
        return "".join(f'<p class="kf-small">{text(line)}</p>' for line in lines)

    def _forecast_tab(self, page: gr.Blocks) -> None:
        words = self.words
        kinds = {name or words[f"data_{kind}"]: kind for kind, name in self.candles.kinds().items()}
        first = next(iter(kinds.values()))
        horizon, sampling = self.shown.horizon(), self.predictor.sampling()
        most_bars = (
            min(horizon, MOST_BARS) if self.kinds.is_head else MOST_BARS
        )  # a head forecasts no bar beyond its own
        forecasts, levels = self.kinds.kinds(), self.kinds.levels()
        all_layers = HEAD_LAYERS if self.kinds.is_head else LAYERS
        applies = self.kinds.sampling_applies(forecasts[0])
        series, found = gr.State(), gr.State()
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=310):
                with gr.Group():
                    kind = gr.Radio(list(kinds.items()), value=first, label=words["candles"], elem_id="data")
                    upload = gr.File(
                        label=words["upload"].format(size=UPLOAD_LIMIT.upper().replace("MB", " MB")),
                        file_types=list(UPLOAD_TYPES),
                        visible=False,
                        height=120,
                        elem_id="upload",
                    )
                    policy = gr.Dropdown(
                        [(words[f"policy_{name}"], name) for name in ("error", "drop", "repair")],
                        value="error",
                        label=words["policy"],
                        visible=False,
                        elem_id="policy",
                    )
                    symbol = gr.Dropdown([], label=words["symbol"], elem_id="symbol", visible=False)
                    facts = gr.HTML(elem_id="facts")
                with gr.Group():
                    start = gr.Radio(
                        [(words["origin_end"], END), (words["origin_past"], PAST)],
                        value=END,
                        label=words["origin"],
                        elem_id="start",
                    )
                    origin = gr.Textbox(
                        label=words["origin_time"],
                        info=words["origin_hint"],
                        visible=False,
                        elem_id="origin",
                        max_lines=1,
                    )
                    with gr.Row(visible=False, elem_id="moves") as moves:
                        earlier = gr.Button(words["earlier"], size="sm", min_width=80, elem_id="earlier")
                        later = gr.Button(words["later"], size="sm", min_width=80, elem_id="later")
                what = gr.Radio(
                    [(self.kind_label(name), name) for name in forecasts],
                    value=forecasts[0],
                    label=words["kind"],
                    visible=len(forecasts) > 1,
                    elem_id="kind",
                )
                head_paths = gr.Radio(
                    [(words[f"head_paths_{name}"], name) for name in (BLOCKS, SAMPLED)],
                    value=BLOCKS,
                    label=words["head_paths"],
                    visible=self.kinds.has_sampled_paths,
                    elem_id="head_paths",
                )
                bars = gr.Slider(
                    1, most_bars, min(horizon, most_bars), step=1, label=words["horizon"], elem_id="horizon"
                )
                paths = gr.Slider(1, MOST_PATHS, PATHS, step=1, label=words["paths"], elem_id="paths")
                with gr.Accordion(words["sampling"], open=False, elem_id="sampling"):
                    note = gr.HTML(self.sampling_note(forecasts[0], BLOCKS), elem_id="sampling_note")
                    temperature = gr.Slider(
                        0,
                        2,
                        sampling["T"],
                        step=0.05,
                        label=words["temperature"],
                        visible=applies,
                        elem_id="temperature",
                    )
                    top_p = gr.Slider(
                        0.05, 1, sampling["top_p"], step=0.05, label=words["top_p"], visible=applies, elem_id="top_p"
                    )
                    context = gr.Number(self.shown.lookback(), label=words["lookback"], precision=0, elem_id="lookback")
                    seed = gr.Number(42, label=words["seed"], precision=0, elem_id="seed")
                button = gr.Button(words["run"], variant="primary", elem_id="run")
            with gr.Column(scale=3, min_width=480):
                said = gr.HTML(elem_id="said")
                tiles = gr.HTML(elem_id="tiles")
                layers = gr.CheckboxGroup(
                    [(words[f"layer_{name}"], name) for name in all_layers],
                    value=list(all_layers),
                    label=words["show"],
                    show_label=False,
                    container=False,
                    visible=False,
                    elem_id="layers",
                )
                chart = gr.HTML(elem_id="chart")
                caution = gr.HTML(elem_id="caution")
                quantiles = gr.HTML(elem_id="table")
                with gr.Row(visible=False) as files:
                    quantile_file = gr.DownloadButton(words["download_quantiles"], size="sm", elem_id="quantile_file")
                    path_file = gr.DownloadButton(words["download_paths"], size="sm", elem_id="path_file")
                gr.HTML(f'<p class="kf-small">{text(words["not_advice"])}</p>')

        # choosing other data clears an old forecast
        cleared = [found, tiles, layers, caution, quantiles, files]

        def nothing() -> tuple:
            return None, "", gr.update(visible=False), "", "", gr.update(visible=False)

        def shown_series(one: CandleSeries, horizon: float) -> tuple:
            return describe(one, words), past_origin(one, int(horizon or 1)), chart_of_known(one, words), *nothing()

        @_said(5 + len(cleared), words["no_memory"])
        def read(kind: str, upload: str | None, policy: str, horizon: float) -> tuple:
            loaded = self.candles.read(kind, upload, policy)
            names = [one.symbol for one in loaded]
            choices = gr.update(choices=names, value=names[0], visible=len(names) > 1)
            return loaded, choices, *shown_series(loaded[0], horizon)

        def show_upload(kind: str) -> tuple:
            return gr.update(visible=kind == UPLOAD, value=None), gr.update(visible=kind == UPLOAD)

        @_said(3 + len(cleared), words["no_memory"])
        def choose(series: list[CandleSeries] | None, symbol: str, horizon: float) -> tuple:
            return shown_series(series_of(series, symbol), horizon)

        def show_origin(start: str) -> tuple:
            return gr.update(visible=start == PAST), gr.update(visible=start == PAST)

        def move(direction: int) -> Callable:
            @_said(1, words["no_memory"])
            def moved(series: list[CandleSeries] | None, symbol: str | None, origin: str, horizon: float) -> str:
                return moved_origin(series_of(series, symbol), origin, direction * int(horizon or 1))

            return moved

        def show_sampling(what: str, head_paths: str) -> tuple:
            visible = gr.update(visible=self.kinds.sampling_applies(what, head_paths))
            coupled = gr.update(visible=self.kinds.has_sampled_paths and what != RAW)
            return self.sampling_note(what, head_paths), visible, visible, coupled

        @_said(5 + len(cleared) - 2, words["no_memory"])
        def forecast(
            series: list[CandleSeries] | None, symbol: str | None, start: str, origin: str, what: str,
            head_paths: str, horizon: float, paths: float, context: float, temperature: float, top_p: float,
            seed: float, layers: list[str], progress: gr.Progress = gr.Progress(),  # noqa: B008
        ) -> tuple:  # fmt: skip
            choices = ForecastChoices.checked(
                origin if start == PAST else None,
                horizon=horizon, num_paths=paths, lookback=context, T=temperature, top_p=top_p, seed=seed,
            )  # fmt: skip
            progress((0, choices.horizon), desc=words["progress"])
            made = {
                ask.kind: make_forecast(
                    ask.predictor,
                    series_of(series, symbol),
                    replace(choices, **{"T": None, "top_p": None, **ask.sampling}),
                    lambda done, total: progress((done, total), desc=words["progress"]),
                )
                for ask in self.kinds.requests(what, head_paths, choices.T, choices.top_p)
            }
            places = write_tables(made, Path(tempfile.mkdtemp(dir=self.folder)))
            models = {kind: self.kinds.sampler.found if kind == RAW else self.shown for kind in made}
            caution = remarks({kind: (one, models[kind]) for kind, one in made.items()}, words)
            visible = gr.update(visible=True)
            return made, *drawn(made, layers), visible, caution, *map(str, places), visible

        def drawn(made: dict[str, SymbolForecast] | None, layers: list[str]) -> tuple:
            if made is None:
                return gr.skip(), gr.skip(), gr.skip()
            named = {kind if len(made) > 1 else None: one for kind, one in made.items()}
            tiles, tables = (
                "".join(show(one, words, show_truth="truth" in layers, name=name) for name, one in named.items())
                for show in (summary, quantile_table)
            )
            return chart_of(made, layers, words, levels), tiles, tables

        chosen = [kind, upload, policy, bars]
        loads = [said, series, symbol, facts, origin, chart, *cleared]
        page.load(read, chosen, loads, **HIDDEN)
        kind.change(show_upload, kind, [upload, policy], **HIDDEN)
        kind.input(lambda: ("", None, gr.update(visible=False), "", "", "", *nothing()), None, loads, **HIDDEN).then(
            lambda kind, *fields: (gr.skip(),) * len(loads) if kind == UPLOAD else read(kind, *fields),
            chosen,
            loads,
            **HIDDEN,
        )
        upload.upload(read, chosen, loads, **HIDDEN)
        symbol.input(choose, [series, symbol, bars], [said, facts, origin, chart, *cleared], **HIDDEN)
        for choice in (what, head_paths):
            choice.change(show_sampling, [what, head_paths], [note, temperature, top_p, head_paths], **HIDDEN)
        start.change(show_origin, start, [origin, moves], **HIDDEN)
        for which, direction in ((earlier, -1), (later, 1)):
            which.click(move(direction), [series, symbol, origin, bars], [said, origin], **HIDDEN)
        button.click(
            forecast,
            [series, symbol, start, origin, what, head_paths, bars, paths, context, temperature, top_p, seed, layers],
            [said, found, chart, tiles, quantiles, layers, caution, quantile_file, path_file, files],
            api_visibility="private",
            show_progress_on=[chart],
        )
        layers.input(drawn, [found, layers], [chart, tiles, quantiles], **HIDDEN)
