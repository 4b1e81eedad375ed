"""The picture of docs/recipes.md: validation over processor seconds, `best` beside baseline and published loop."""

from pathlib import Path

from benchmarks.kronos_recipe_tables import MARKETS, PUBLISHED, REFERENCE, STAGES, WEAK, Place, Runs, places

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "recipes.svg"
STYLES = {PUBLISHED: ("#888888", "published loop"), REFERENCE: ("#d55e00", "baseline"), "best": ("#0072b2", "best")}
UNITS = {"tokenizer": "tokenizer: reconstruction error", "predictor": "predictor: loss, nats"}


def curves(runs: Runs, place: Place) -> dict[str, tuple[list[float], list[float]]]:
    """Processor seconds and validation of each recipe at a place, of its first seed."""
    found = {}
    for recipe in STYLES:
        of_seeds = place.runs(runs, recipe)
        if of_seeds:
            history = of_seeds[min(of_seeds)]["history"]
            found[recipe] = [entry["cpu"] for entry in history], [entry["score"] for entry in history]
    return found


def draw(runs: Runs, path: Path = PICTURE) -> None:
    """A panel for each stage and market; dashed lines start from strong weights."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    markets = [market for market in MARKETS if any(place.market == market for place in places(runs, STAGES[0]))]
    markets = [market for market in markets if not market.endswith("-mini")]
    pyplot.rcParams.update({"svg.hashsalt": "recipes", "svg.fonttype": "none", "font.size": 9})
    figure, axes = pyplot.subplots(
        len(STAGES), len(markets), figsize=(3.7 * len(markets), 5.6), layout="constrained", squeeze=False
    )
    for row, stage in zip(axes, STAGES, strict=True):
        for axis, market in zip(row, markets, strict=True):
            for place in (one for one in places(runs, stage) if one.market == market):
                for recipe, (seconds, values) in curves(runs, place).items():
                    colour, name = STYLES[recipe]
                    style = "-" if place.start <= WEAK else "--"
                    axis.plot(
                        seconds, values, style, color=colour, label=f"{name}, start {place.start:,}", linewidth=1.3
                    )
            axis.set_title(MARKETS[market])
            axis.set_xlabel("processor seconds")
        row[0].set_ylabel(UNITS[stage])
    named = {name: line for axis in axes.flat for line, name in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
