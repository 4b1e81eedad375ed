"""The families of the fault suite: the fault, how it is injected, and what must hold.

A test belongs to a family by `@pytest.mark.fault(NUMBER)`, in any file.
"""

from typing import NamedTuple


class Family(NamedTuple):
    """One row of the table in docs/reliability.md."""

    fault: str
    made: str
    must_hold: str


FAMILIES = {
    1: Family(
        "killed at any moment",
        "SIGKILL at random times and file operations, including those of saves and of --overwrite, then --resume",
        "final weights, history and kept checkpoints equal those of an uninterrupted run, bit for bit",
    ),
    2: Family(
        "a file of a checkpoint is missing",
        "optimizer, scheduler, random state, trainer state, weights or manifest removed",
        "the checkpoint is named and skipped; the run resumes from the previous one",
    ),
    3: Family(
        "a flipped byte",
        "one bit of each file of the newest checkpoint changed",
        "the checkpoint and the file are named, and the checkpoint is skipped",
    ),
    4: Family("a truncated file", "each file of the newest checkpoint truncated", "as above"),
    5: Family("an empty newest folder", "checkpoint-N without files", "as above"),
    6: Family(
        "a resume with other settings",
        "batch, seed, data, or number of processes changed",
        "refused with the list of differences; --resume_force logs what it keeps",
    ),
    7: Family("another learning rate on resume", "--learning_rate changed", "the log says which value is used and why"),
    8: Family(
        "NaN or infinity in training",
        "NaN in loss, gradients or inputs from step k on, also on one of two ranks",
        "no such step is applied; the run stops after max_bad_steps and writes the names of the samples to a file",
    ),
    9: Family(
        "a NaN metric", "an evaluation that gives NaN", "never the best; early stopping counts it as no improvement"
    ),
    10: Family(
        "no space, no permission, a failing disk during a save",
        "a full tmpfs; a folder without permission; an I/O error",
        "the previous checkpoint stays usable; one clear line, or the run continues with --on_save_error continue",
    ),
    11: Family(
        "SIGTERM, SIGINT",
        "sent during training, once and twice",
        "the step is finished and saved, exit code 143 or 130; a resume ends bit-equal; a second signal stops at once",
    ),
    12: Family(
        "accumulation and ranks",
        "one batch of 8, 4 accumulated twice, two ranks of 4",
        "equal losses, gradients and weights",
    ),
    13: Family(
        "a killed rank",
        "SIGKILL to one of two ranks",
        "the launch ends with an error in bounded time; checkpoints stay complete",
    ),
    14: Family(
        "sample order", "resume within an epoch; 0, 1 and 2 loader workers", "the same samples in the same order"
    ),
    15: Family(
        "pickled payloads",
        ".bin, .pt, .pkl and .ckpt files that would run code",
        "refused, nothing executed",
    ),
    16: Family("remote code", "auto_map in a config, trust_remote_code", "refused, nothing executed"),
    17: Family("a perturbed future", "bars at and after the origin changed", "inputs and forecasts stay the same"),
    18: Family(
        "malformed files",
        "20 bad CSVs, 20 bad JSONLs; random JSON in each field of the files of a run",
        "one line that names file and line; exit code 2; nothing written",
    ),
    19: Family(
        "constant price, zero volume", "flat candles", "finite losses, forecasts and metrics, or a clear refusal"
    ),
    20: Family("short series", "fewer bars than a window, a split or a forecast needs", "one line with the numbers"),
    21: Family(
        "output invariants",
        "random models and inputs",
        "high >= low, prices positive, times increasing, shapes as documented",
    ),
    22: Family(
        "injected cells", "symbols, ids and texts beginning with = + - @ TAB CR; HTML", "neutralised or escaped"
    ),
    23: Family(
        "a Hub that fails",
        "401, 429, 500, 503, cut connections, a push cut in the middle, from a loopback Hub",
        "the local model stays complete; pushing again completes the repository",
    ),
    24: Family(
        "two runs on one folder",
        "a second process; stale locks",
        "the second is refused, naming pid and host of the first",
    ),
    25: Family(
        "tokenizer and predictor do not match", "other bits, other weights", "refused, or a warning that names both"
    ),
    26: Family("odd text", "empty, emoji, very long, lone surrogates", "handled, or refused with file and line"),
    27: Family(
        "path traversal",
        "../ and absolute names as symbol, repository, file",
        "refused; nothing is written outside of the folder",
    ),
    28: Family(
        "misspelt settings", "unknown names on the command line and in YAML", "refused with the most similar name"
    ),
}
