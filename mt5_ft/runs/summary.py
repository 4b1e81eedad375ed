"""The end of an mT5 run in a few lines: loss, scores, examples."""

from ft_core.io.progress_lines import span

SCORES = ("rouge1", "rouge2", "rougeL", "chrf", "bleu")
SHARES = ("empty_share", "sentinel_share", "repeated_share")
SHOWN_CHARACTERS = 160
MANY_EMPTY = 0.5


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN_CHARACTERS else plain[: SHOWN_CHARACTERS - 1] + "…"


def summary_lines(metrics: dict) -> list[str]:
    """Lines for people on the figures of `training_metrics.json`."""
    loss, final = metrics["validation_loss"], metrics["final"]
    lines = []
    for example in metrics["examples"]:
        lines += [
            f"source      {_short(example['source'])}",
            f"reference   {_short(example['reference'])}",
            f"prediction  {_short(example['prediction'])}",
            "",
        ]
    if loss["first"] is not None:
        when = f"at step {loss['first_step']}" if loss.get("first_step") else "before training"
        lines.append(
            f"loss        validation {loss['first']:.4f} {when}, {loss['best']:.4f} best, {final['loss']:.4f} final"
        )
    scores = ", ".join(f"{name} {final[name]:.1f}" for name in SCORES if name in final)
    lines.append(f"scores      {scores} (of 100, all {final['summarised_rows']} validation records)")
    if all(name in final for name in SHARES):
        shares = ", ".join(f"{final[name]:.1%} {name.removesuffix('_share')}" for name in SHARES)
        lines.append(f"outputs     {shares}, length ratio {final['length_ratio']:.2f}")
        if final["empty_share"] >= MANY_EMPTY:
            lines.append(
                f"WARNING     {final['empty_share']:.0%} of the summaries are empty: the model has learnt too little; "
                "train longer, raise learning_rate, or start from published weights"
            )
    took = f" in {span(metrics['seconds'])}" if metrics["seconds"] else ""
    lines.append(f"trained     {metrics['steps']} of {metrics['max_steps']} steps{took}")
    return lines
