"""mt5-ft: fine-tune mT5 for summaries in Chinese and English with the Hugging Face Trainer.

The names below are loaded on first use, so that `mt5-ft --help` answers without importing torch.
"""

TYPE_CHECKING = False  # of `typing`, which is not imported: Ctrl-C here would print a traceback

if TYPE_CHECKING:
    from .data.preprocessing import TokenLengths, tokenize_records
    from .data.records import Record, RecordReport, TaskFields, named_fields, read_records, write_records
    from .models.from_scratch import small_model, train_tokenizer
    from .models.loading import load_model, load_tokenizer
    from .runs.finish import finish_training, summary_lines
    from .runs.run import plan_run, run_training
    from .summaries.generation import GenerationSettings, summarize_texts
    from .summaries.metrics import score_texts
    from .summaries.predictions import read_predictions, summarize_file
    from .training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
    from .training.trainer import MT5Collator, MT5Trainer

_HOMES = {
    "GenerationSettings": ".summaries.generation",
    "MT5Arguments": ".training.arguments",
    "MT5Collator": ".training.trainer",
    "MT5DataArguments": ".training.arguments",
    "MT5ModelArguments": ".training.arguments",
    "MT5Trainer": ".training.trainer",
    "Record": ".data.records",
    "RecordReport": ".data.records",
    "TaskFields": ".data.records",
    "TokenLengths": ".data.preprocessing",
    "finish_training": ".runs.finish",
    "load_model": ".models.loading",
    "load_tokenizer": ".models.loading",
    "named_fields": ".data.records",
    "plan_run": ".runs.run",
    "read_predictions": ".summaries.predictions",
    "read_records": ".data.records",
    "run_training": ".runs.run",
    "score_texts": ".summaries.metrics",
    "small_model": ".models.from_scratch",
    "summarize_file": ".summaries.predictions",
    "summarize_texts": ".summaries.generation",
    "summary_lines": ".runs.finish",
    "tokenize_records": ".data.preprocessing",
    "train_tokenizer": ".models.from_scratch",
    "write_records": ".data.records",
}
# a literal, which type checkers can read
__all__ = [
    "GenerationSettings",
    "MT5Arguments",
    "MT5Collator",
    "MT5DataArguments",
    "MT5ModelArguments",
    "MT5Trainer",
    "Record",
    "RecordReport",
    "TaskFields",
    "TokenLengths",
    "finish_training",
    "load_model",
    "load_tokenizer",
    "named_fields",
    "plan_run",
    "read_predictions",
    "read_records",
    "run_training",
    "score_texts",
    "small_model",
    "summarize_file",
    "summarize_texts",
    "summary_lines",
    "tokenize_records",
    "train_tokenizer",
    "write_records",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("kronos-ft")
    from importlib import import_module

    import_module("ft_core")  # before transformers, for notebooks
    if name not in _HOMES:
        raise AttributeError(f"module 'mt5_ft' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
