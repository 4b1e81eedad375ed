"""Names of settings of the published fine-tuning scripts, and ours for them: one table for messages and documents."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

YAML_FILE, CONFIG_PY = "YAML", "config.py"
SECTIONS = ("data", "training", "model_paths", "experiment", "device", "distributed")  # of the published YAML


@dataclass(frozen=True)
class PublishedName:
    """A setting of the published scripts.

    Attributes:
        name (`str`): its name there.
        files (`tuple[str, ...]`): which have it: YAML of the CSV scripts, config.py of the Qlib scripts.
        ours (`tuple[str, ...]`): our names for it; empty if there is none.
        note (`str`): how the meaning differs, or what to do instead.
    """

    name: str
    files: tuple[str, ...]
    ours: tuple[str, ...] = ()
    note: str = ""


BOTH = (YAML_FILE, CONFIG_PY)
_STAGE_FOLDERS = "the stages are folders of output_dir: tokenizer and predictor"
_BACK_TEST = "kronos-ft evaluate has a back-test of its own, with fee_bps and slippage_bps"
_LAUNCHER = "start the command with accelerate launch or torchrun"
_MODEL_INPUT = "the columns and the times that the model reads are fixed"
_QLIB = "read candles from a file: export them from Qlib to CSV or Parquet and pass it as data"
_SAMPLES = "an epoch uses every window once; set max_steps to epochs x n_train_iter / batch_size for as many steps"
_VALIDATION = "validation uses every window; a larger validation_stride makes fewer windows"
_CUT = "the candles that the file holds are used; remove the others"
_SCRATCH = "the opposite value; model or tokenizer must then be a named size, such as small"
_PASSED_ON = "kronos-ft finetune trains the predictor on the tokenizer that it has trained"
_COMET = "Comet reads COMET_API_KEY, COMET_PROJECT_NAME and COMET_WORKSPACE"
_SAMPLING = "set it for kronos-ft forecast and kronos-ft evaluate"
NAMES: tuple[PublishedName, ...] = (
    # candles and windows
    PublishedName("data_path", (YAML_FILE,), ("data",)),
    PublishedName("qlib_data_path", (CONFIG_PY,), (), _QLIB),
    PublishedName("dataset_path", (CONFIG_PY,), (), _QLIB),
    PublishedName("instrument", (CONFIG_PY,), (), _QLIB),
    PublishedName("dataset_begin_time", (CONFIG_PY,), (), _CUT),
    PublishedName("dataset_end_time", (CONFIG_PY,), (), _CUT),
    PublishedName("lookback_window", BOTH, ("lookback_window",)),
    PublishedName("predict_window", BOTH, ("predict_window",)),
    PublishedName("max_context", BOTH, ("max_context",), _SAMPLING),
    PublishedName("clip", BOTH, ("clip",)),
    PublishedName("feature_list", (CONFIG_PY,), (), _MODEL_INPUT),
    PublishedName("time_feature_list", (CONFIG_PY,), (), _MODEL_INPUT),
    PublishedName("train_ratio", (YAML_FILE,), ("split_ratios",), "three shares with sum 1"),
    PublishedName("val_ratio", (YAML_FILE,), ("split_ratios",), "three shares with sum 1"),
    PublishedName("test_ratio", (YAML_FILE,), ("split_ratios",), "the rest after train_ratio and val_ratio"),
    PublishedName("train_time_range", (CONFIG_PY,), ("split_dates",), "the first day of validation follows its end"),
    PublishedName("val_time_range", (CONFIG_PY,), ("split_dates",), "the first day of test follows its end"),
    PublishedName("test_time_range", (CONFIG_PY,), (), "the test split begins at the second of split_dates"),
    PublishedName("backtest_time_range", (CONFIG_PY,), (), "kronos-ft evaluate uses the test split"),
    # training
    PublishedName("epochs", BOTH, ("num_train_epochs",)),
    PublishedName("tokenizer_epochs", (YAML_FILE,), ("tokenizer_num_train_epochs",)),
    PublishedName("basemodel_epochs", (YAML_FILE,), ("predictor_num_train_epochs",)),
    PublishedName("n_train_iter", (CONFIG_PY,), (), _SAMPLES),
    PublishedName("n_val_iter", (CONFIG_PY,), (), _VALIDATION),
    PublishedName("batch_size", BOTH, ("per_device_train_batch_size",)),
    PublishedName(
        "accumulation_steps", BOTH, ("tokenizer_gradient_accumulation_steps",),
        "the published tokenizer script divides the batch by it: also divide tokenizer_per_device_train_batch_size",
    ),
    PublishedName("log_interval", BOTH, ("logging_steps",)),
    PublishedName("num_workers", (YAML_FILE,), ("dataloader_num_workers",)),
    PublishedName("seed", BOTH, ("seed",)),
    PublishedName("tokenizer_learning_rate", BOTH, ("tokenizer_learning_rate",)),
    PublishedName("predictor_learning_rate", BOTH, ("predictor_learning_rate",)),
    PublishedName(
        "adam_beta1", BOTH, ("adam_beta1",),
        "the published schedule overwrites it with values from 0.85 to 0.95: cycle_momentum does the same",
    ),
    PublishedName("adam_beta2", BOTH, ("adam_beta2",)),
    PublishedName("adam_weight_decay", BOTH, ("weight_decay",)),
    # weights and folders
    PublishedName("pretrained_tokenizer", (YAML_FILE,), ("tokenizer",)),
    PublishedName("pretrained_predictor", (YAML_FILE,), ("model",)),
    PublishedName("pretrained_tokenizer_path", (CONFIG_PY,), ("tokenizer",)),
    PublishedName("pretrained_predictor_path", (CONFIG_PY,), ("model",)),
    PublishedName("pre_trained", (YAML_FILE,), ("from_scratch",), _SCRATCH),
    PublishedName("pre_trained_tokenizer", (YAML_FILE,), ("tokenizer_from_scratch",), _SCRATCH),
    PublishedName("pre_trained_predictor", (YAML_FILE,), ("predictor_from_scratch",), _SCRATCH),
    PublishedName("exp_name", (YAML_FILE,), ("output_dir",), "the folder base_path/exp_name"),
    PublishedName("base_path", (YAML_FILE,), ("output_dir",), "the folder base_path/exp_name"),
    PublishedName("base_save_path", (YAML_FILE,), ("output_dir",)),
    PublishedName("save_path", (CONFIG_PY,), ("output_dir",)),
    PublishedName("tokenizer_save_name", (YAML_FILE,), (), _STAGE_FOLDERS),
    PublishedName("basemodel_save_name", (YAML_FILE,), (), _STAGE_FOLDERS),
    PublishedName("tokenizer_save_folder_name", (CONFIG_PY,), (), _STAGE_FOLDERS),
    PublishedName("predictor_save_folder_name", (CONFIG_PY,), (), _STAGE_FOLDERS),
    PublishedName("finetuned_tokenizer", (YAML_FILE,), (), _PASSED_ON),
    PublishedName("finetuned_tokenizer_path", (CONFIG_PY,), (), _PASSED_ON),
    PublishedName("finetuned_predictor_path", (CONFIG_PY,), (), "it is predictor/best_model in output_dir"),
    # experiment and devices
    PublishedName("name", (YAML_FILE,), ("run_name",)),
    PublishedName("description", (YAML_FILE,), (), "write it as a comment into the new file"),
    PublishedName("use_comet", BOTH, ("report_to",), "comet_ml if true"),
    PublishedName("comet_config", (CONFIG_PY,), (), _COMET),
    PublishedName("comet_tag", (CONFIG_PY,), (), _COMET),
    PublishedName("comet_name", (CONFIG_PY,), ("run_name",)),
    PublishedName("train_tokenizer", (YAML_FILE,), (), "kronos-ft predictor trains the predictor alone"),
    PublishedName("train_basemodel", (YAML_FILE,), (), "kronos-ft tokenizer trains the tokenizer alone"),
    PublishedName("skip_existing", (YAML_FILE,), (), "kronos-ft finetune --resume skips a finished stage"),
    PublishedName("use_cuda", (YAML_FILE,), ("use_cpu",), "the opposite value"),
    PublishedName("device_id", (YAML_FILE,), (), "set the environment variable CUDA_VISIBLE_DEVICES"),
    PublishedName("use_ddp", (YAML_FILE,), (), _LAUNCHER),
    PublishedName("backend", (YAML_FILE,), ("ddp_backend",)),
    # forecasts and back-test
    PublishedName("inference_T", (CONFIG_PY,), ("T",), _SAMPLING),
    PublishedName("inference_top_p", (CONFIG_PY,), ("top_p",), _SAMPLING),
    PublishedName("inference_top_k", (CONFIG_PY,), ("top_k",), _SAMPLING),
    PublishedName("inference_sample_count", (CONFIG_PY,), ("num_paths",), _SAMPLING),
    PublishedName("backtest_n_symbol_hold", (CONFIG_PY,), (), _BACK_TEST),
    PublishedName("backtest_n_symbol_drop", (CONFIG_PY,), (), _BACK_TEST),
    PublishedName("backtest_hold_thresh", (CONFIG_PY,), (), _BACK_TEST),
    PublishedName("backtest_benchmark", (CONFIG_PY,), (), _BACK_TEST),
    PublishedName("backtest_batch_size", (CONFIG_PY,), ("batch_size",), "set it for kronos-ft evaluate"),
    PublishedName("backtest_save_folder_name", (CONFIG_PY,), (), "pass output_dir to kronos-ft evaluate"),
    PublishedName("backtest_result_path", (CONFIG_PY,), (), "pass output_dir to kronos-ft evaluate"),
)  # fmt: skip
BY_NAME = {one.name: one for one in NAMES}
MOST_EXAMPLES = 3  # of renamed settings, in a message
STAGES = ("tokenizer", "predictor", "quantiles")


def names_of(command: str) -> set[str]:
    """The names that a YAML file of a command may set; of `finetune` also those with the prefix of a stage."""
    from ft_core.cli.option_table import read_table

    if command != "finetune":
        return {option.name for option in read_table("kronos_ft", command)}
    found = {"stages", "tokenizer", "output_dir"}
    for stage in STAGES:
        names = {option.name for option in read_table("kronos_ft", stage)}
        found |= names | {f"{stage}_{name}" for name in names}
    return found


def our_names(one: PublishedName, command: str, known: Collection[str]) -> list[str]:
    """Our names for a setting, as the command takes them: `finetune` with the prefix of a stage, a stage without."""
    found = [name.removeprefix(f"{command.split()[-1]}_") for name in one.ours]
    return [name for name in found if name in known]


def hint(name: str, command: str, known: Collection[str]) -> str:
    """What to use in a command instead of a setting of the published scripts."""
    one = BY_NAME[name]
    ours = our_names(one, command, known)
    if ours:
        return f"use {', '.join(ours)}" + (f" ({one.note})" if one.note else "")
    elsewhere = [name for name in one.ours if name in names_of("finetune")]
    if elsewhere:
        return f"only kronos-ft finetune has it, as {', '.join(elsewhere)}"
    return f"it has no counterpart here: {one.note}"


def check_config_names(argv: Sequence[str], command: str) -> None:
    """Answers the names of the published scripts in the file of `--config` with ours.

    Args:
        argv: the command line after the command's name.
        command: the command, such as `finetune`.

    Raises:
        ValueError: a file with the sections of the published YAML, or with a name that only the published scripts have.
    """
    from ft_core.cli.settings import read_config

    if command in ("sweep", "find-lr"):  # of a stage, the first word
        stage = argv[0] if argv else ""
        if stage not in STAGES:
            return
        command = f"sweep {stage}" if command == "sweep" else stage
    path, values = read_config(argv)
    sections = [name for name in SECTIONS if isinstance(values.get(name), dict)]
    if sections:
        inside = [name for section in sections for name in values[section] if name in BY_NAME]
        ours = {name: our_names(BY_NAME[name], command, names_of(command)) for name in inside}
        renamed = [f"{name} is {', '.join(found)} here" for name, found in ours.items() if found and found != [name]]
        raise ValueError(
            f"config file {path} has the sections of the published scripts ({', '.join(sections)}); "
            f"{_conversion(path)} and pass the new file as --config"
            + (f" (for example, {'; '.join(renamed[:MOST_EXAMPLES])})" if renamed else "")
        )
    foreign = [name for name in values if name in BY_NAME]
    if foreign:
        known = names_of(command)
        for name in foreign:
            if name not in known:
                raise ValueError(
                    f"config file {path} sets {name!r}, a setting of the published scripts; "
                    f"{hint(name, command, known)}; to convert the whole file, {_conversion(path)}"
                )


def _conversion(path: Path | str | None) -> str:
    return f"run kronos-ft convert-config {path}"
