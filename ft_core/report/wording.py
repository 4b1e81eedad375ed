"""The words of a report in its two languages: headings, labels and the sentences around figures."""

import locale
import os
from collections.abc import Mapping, Sequence

from .answers import DATA, LANGUAGES, MODEL, NOT_KNOWN, OK, PROBLEM, SILENT, TRAINING, WATCH, Finding, count_verdicts

LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")

VERDICT_WORDS: Mapping[str, Mapping[str, str]] = {
    OK: {"en": "ok", "zh": "正常"},
    WATCH: {"en": "watch", "zh": "留意"},
    PROBLEM: {"en": "problem", "zh": "异常"},
    SILENT: {"en": "not applicable", "zh": "不适用"},
    NOT_KNOWN: {"en": "not known", "zh": "无法判断"},
}
GROUP_WORDS: Mapping[str, Mapping[str, str]] = {
    TRAINING: {"en": "Training", "zh": "训练"},
    DATA: {"en": "Data", "zh": "数据"},
    MODEL: {"en": "Model", "zh": "模型"},
}
STATUS_WORDS: Mapping[str, Mapping[str, str]] = {
    "running": {"en": "running", "zh": "进行中"},
    "finished": {"en": "finished", "zh": "已完成"},
    "stopped early": {"en": "stopped early", "zh": "提前停止"},
    "interrupted": {"en": "interrupted", "zh": "被中断"},
    "pruned": {"en": "pruned by a search", "zh": "被搜索提前结束"},
    "ended without a word": {"en": "ended without a word", "zh": "异常终止（无记录）"},
    "not at its end": {"en": "not at its end", "zh": "未到终点"},
}
SPEED_WORDS: Mapping[str, Mapping[str, str]] = {
    "bars_per_second": {"en": "bars a second", "zh": "根 K 线/秒"},
    "target_tokens_per_second": {"en": "target tokens a second", "zh": "目标词元/秒"},
}
FACT_WORDS: Mapping[str, Mapping[str, str]] = {
    "device": {"en": "device", "zh": "设备"},
    "machine": {"en": "architecture", "zh": "架构"},
    "system": {"en": "system", "zh": "系统"},
    "threads": {"en": "threads", "zh": "线程数"},
    "name": {"en": "name", "zh": "型号"},
    "devices": {"en": "devices visible", "zh": "可见设备数"},
}
WORDS: Mapping[str, Mapping[str, str]] = {
    "title": {"en": "Report of {name}", "zh": "训练报告：{name}"},
    "title_several": {"en": "Comparison of {count} runs", "zh": "{count} 次训练的比较"},
    "summary": {
        "en": "{problems}, {watch} to watch, {ok} ok, {not_applicable} not applicable, {not_known} not known",
        "zh": "{problems} 项异常，{watch} 项留意，{ok} 项正常，{not_applicable} 项不适用，{not_known} 项无法判断",
    },
    "main_quantity": {
        "en": "The quantity to read is **{term}**: {sense}.",
        "zh": "主要指标是 **{term}**：{sense}。",
    },
    "sense_error": {
        "en": "an error, lower is better, 0 is a lossless reconstruction",
        "zh": "误差，越低越好，0 为无损重建",
    },
    "sense_unknown": {
        "en": "what the Trainer minimises, lower is better; of which kind it is, is not recorded",
        "zh": "Trainer 所最小化的损失，越低越好；具体种类没有记录",
    },
    "sense_nats": {"en": "a cross-entropy in nats, lower is better", "zh": "交叉熵（nat），越低越好"},
    "signed": {
        "en": "{terms} contain a reward and may fall below zero: a falling or negative value says nothing "
        "about the error.",
        "zh": "{terms} 含有奖励项，可以降到零以下：其下降或为负并不说明误差变小。",
    },
    "status": {"en": "Status", "zh": "状态"},
    "progress": {"en": "progress", "zh": "进度"},
    "steps_of": {"en": "{step:,} of {total} steps", "zh": "{step:,} / {total} 步"},
    "epochs": {"en": "{epoch:.2f} epochs", "zh": "已训练 {epoch:.2f} 轮"},
    "time": {"en": "time", "zh": "用时"},
    "time_left": {"en": "time left", "zh": "剩余时间"},
    "per_step": {
        "en": "{span}; {seconds:.3g} s a step (evaluations and saves included)",
        "zh": "{span}；每步 {seconds:.3g} 秒（含验证与保存）",
    },
    "only_per_step": {
        "en": "not recorded as a whole; {seconds:.3g} s a step in the part that was timed",
        "zh": "总用时没有记录；已计时的部分每步 {seconds:.3g} 秒",
    },
    "started": {"en": "started", "zh": "开始时间"},
    "hardware": {"en": "hardware", "zh": "硬件"},
    "versions": {"en": "versions", "zh": "版本"},
    "commit": {"en": "code", "zh": "代码"},
    "model_size": {"en": "parameters", "zh": "参数量"},
    "trainable": {"en": "{all:,} ({trainable:,} trained)", "zh": "{all:,}（其中可训练 {trainable:,}）"},
    "data_train": {"en": "training data", "zh": "训练数据"},
    "data_validation": {"en": "validation data", "zh": "验证数据"},
    "samples": {"en": "{count:,} samples", "zh": "{count:,} 个样本"},
    "windows_of": {
        "en": "{count:,} windows over {bars:,} bars, {spans}",
        "zh": "{count:,} 个窗口，{bars:,} 根 K 线，{spans}",
    },
    "batch": {"en": "batch", "zh": "批量"},
    "batch_of": {
        "en": "{count} samples a step, {steps:,} steps an epoch",
        "zh": "每步 {count} 个样本，每轮 {steps:,} 步",
    },
    "lengths": {"en": "lengths", "zh": "长度"},
    "lengths_of": {
        "en": "sources average {source:.0f} tokens, targets {target:.0f}",
        "zh": "原文平均 {source:.0f} 个词元，目标 {target:.0f} 个",
    },
    "source": {"en": "read from", "zh": "报告依据"},
    "torn": {"en": "{source} ({torn} torn lines left out)", "zh": "{source}（略去 {torn} 行残缺记录）"},
    "speed": {"en": "throughput (without evaluations)", "zh": "吞吐量（不含验证）"},
    "unknown": {"en": "not known", "zh": "未知"},
    "checklist": {"en": "Checklist", "zh": "检查清单"},
    "rule": {"en": "rule", "zh": "规则"},
    "question": {"en": "question", "zh": "检查项"},
    "verdict": {"en": "verdict", "zh": "结论"},
    "figure": {"en": "figure", "zh": "依据"},
    "reason": {"en": "reason", "zh": "理由"},
    "losses": {"en": "Losses by part", "zh": "各部分损失"},
    "term": {"en": "term", "zh": "项"},
    "train_first": {"en": "training, first", "zh": "训练首值"},
    "train_highest": {"en": "training, highest", "zh": "训练最高"},
    "train_last": {"en": "training, last", "zh": "训练末值"},
    "valid_first": {"en": "validation, first", "zh": "验证首值"},
    "valid_best": {"en": "validation, best (step)", "zh": "验证最佳（步）"},
    "valid_last": {"en": "validation, last", "zh": "验证末值"},
    "trend": {"en": "trend in training", "zh": "训练趋势"},
    "falls": {"en": "falls", "zh": "下降"},
    "rises": {"en": "rises", "zh": "上升"},
    "level": {"en": "level", "zh": "持平"},
    "fell_back": {"en": "exploded, fell back", "zh": "发散后回落"},
    "side_by_side": {
        "en": "Training and validation of the same quantity ({term})",
        "zh": "同一指标的训练与验证（{term}）",
    },
    "side_by_side_means": {
        "en": "Validation at the step; training as the mean of the later half of what was logged since the evaluation "
        "before.",
        "zh": "验证为该步的值；训练为自上次验证以来记录的后一半的均值。",
    },
    "step": {"en": "step", "zh": "步"},
    "training": {"en": "training", "zh": "训练"},
    "validation": {"en": "validation", "zh": "验证"},
    "ratio": {"en": "validation / training", "zh": "验证 / 训练"},
    "difference": {"en": "validation - training", "zh": "验证 - 训练"},
    "pictures": {"en": "Curves", "zh": "曲线"},
    "optimisation": {"en": "Schedule, gradients, weights", "zh": "学习率、梯度、权重"},
    "first": {"en": "first", "zh": "首值"},
    "highest": {"en": "highest", "zh": "最高"},
    "median": {"en": "median", "zh": "中位数"},
    "last": {"en": "last", "zh": "末值"},
    "disk": {"en": "Disk", "zh": "磁盘"},
    "content": {"en": "content", "zh": "内容"},
    "checkpoints": {"en": "checkpoints ({steps})", "zh": "检查点（{steps}）"},
    "model": {"en": "model", "zh": "模型"},
    "total": {"en": "in all", "zh": "合计"},
    "uncommitted": {"en": " (uncommitted changes)", "zh": "（有未提交的改动）"},
    "code_usage": {"en": "Codes in use", "zh": "码本使用情况"},
    "rest": {"en": "records, pictures, rest; no reports", "zh": "记录、图片及其他（不含报告）"},
    "advice": {"en": "Advice for the next run", "zh": "下一次训练的建议"},
    "no_advice": {"en": "No rule asks for another setting.", "zh": "没有规则要求更改设置。"},
    "no_advice_watch": {
        "en": "No rule asks for another setting; the reasons above say what to keep an eye on.",
        "zh": "没有规则要求更改设置；需留意的项见上文理由。",
    },
    "no_cure": {
        "en": "The problems found ({rules}) come first: mend the data or the code as their reasons say, then train "
        "again.",
        "zh": "上述异常（{rules}）须先修正：请按其理由改正数据或代码，再重新训练。",
    },
    "no_comparison": {
        "en": "The validation of this run is neither to be compared nor to choose a model by.",
        "zh": "本次的验证数值不能用于比较或选模型。",
    },
    "see_reasons": {
        "en": "No setting cures the problems found ({rules}); their reasons in the checklist say what to do.",
        "zh": "上述异常（{rules}）无法靠改设置解决；处理办法见检查清单中的理由。",
    },
    "next_mend": {
        "en": "Next: mend what {rule} found (its row says how), then train again.",
        "zh": "首要：先解决{rule}指出的问题（做法见该行），再重新训练。",
    },
    "next_resume": {
        "en": "Next: go on with it, by the same command with --resume.",
        "zh": "首要：用相同命令加 --resume 继续训练。",
    },
    "next_anew": {
        "en": "Next: start it anew; no checkpoint is whole.",
        "zh": "首要：重新开始训练；没有完整的检查点。",
    },
    "next_change": {
        "en": "Next: train again with {settings} ({rule}).",
        "zh": "首要：改用 {settings} 重新训练，依据{rule}。",
    },
    "next_watch": {
        "en": "Next: no setting has to be changed; the reasons below say what to keep an eye on.",
        "zh": "首要：无须更改设置；需留意的项见下表理由。",
    },
    "next_nothing": {"en": "Next: nothing has to be changed.", "zh": "首要：无须更改。"},
    "first_fix": {
        "en": "First fix: inputs are not normalised (rule scaling). This is in the code, not in a setting; the figures "
        "of other rules mean little until then.",
        "zh": "首先解决：输入未归一化（scaling）。这需要改代码而不是改设置；在此之前其他各项的数值参考意义不大。",
    },
    "from_python": {
        "en": "This run was started by a Python script: its data and model are not recorded as settings. Apply the "
        "changes above in the script; next.yaml is no complete configuration and cannot be given to --config.",
        "zh": "本次训练由 Python 脚本启动，数据与模型未以设置项的形式记录；请在脚本中应用上述更改。"
        "next.yaml 不是完整配置，不能直接用于 --config。",
    },
    "from_python_file": {
        "en": "This run was started by a Python script: its data and model are not recorded as settings. Apply the "
        "changes at the end of this file in the script; the file is no complete configuration.",
        "zh": "本次训练由 Python 脚本启动，数据与模型未以设置项的形式记录；"
        "请在脚本中应用文末的更改。本文件不是完整配置。",
    },
    "no_changes": {
        "en": "No changes are advised; these are the settings of this run as far as they are known, no complete "
        "configuration.",
        "zh": "本次没有更改建议；以下仅为已知的原设置，不是完整配置。",
    },
    "not_before": {"en": "Not to be used before this is mended: {rules}.", "zh": "修正 {rules} 之前请勿使用。"},
    "advice_use": {
        "en": "`{file}` holds these changes and the other settings of this run: `{command} --config {file}`.",
        "zh": "`{file}` 含有这些更改以及本次训练的其他设置：`{command} --config {file}`。",
    },
    "diff_note": {
        "en": "Changes only; a comment names the rule and the figure.",
        "zh": "仅列出更改；注释给出规则和依据。",
    },
    "runs": {"en": "Runs", "zh": "各次训练"},
    "run": {"en": "run", "zh": "训练"},
    "best_value": {"en": "best validation (step)", "zh": "最佳验证（步）"},
    "a_step": {"en": "a step", "zh": "每步"},
    "grave": {"en": "problems / watch", "zh": "异常 / 留意"},
    "settings_differ": {"en": "Settings that differ", "zh": "不同的设置"},
    "no_difference": {"en": "No recorded setting differs.", "zh": "记录的设置没有不同。"},
    "setting": {"en": "setting", "zh": "设置"},
    "spread": {"en": "Spread over seeds", "zh": "种子间的差异"},
    "group": {"en": "runs that differ in their seed alone", "zh": "仅种子不同的训练"},
    "count": {"en": "n", "zh": "n"},
    "mean": {"en": "mean", "zh": "均值"},
    "sd": {"en": "standard deviation", "zh": "标准差"},
    "shared_axes": {"en": "Curves on shared axes", "zh": "同轴曲线"},
    "not_comparable": {
        "en": "These runs do not log the same main quantity ({terms}); curves and best values of different "
        "quantities are "
        "not compared.",
        "zh": "这些训练的主要指标不同（{terms}）；不同指标的曲线和最佳值不作比较。",
    },
    "one_seed": {
        "en": "No two runs differ in their seed alone, so that there is no spread: a difference may be chance.",
        "zh": "没有仅种子不同的训练，因此没有离散度：差异可能出于偶然。",
    },
}


def say(key: str, language: str, **values: object) -> str:
    """A phrase in a language, filled in."""
    return WORDS[key][language].format(**values)


def summary_of(findings: Sequence[Finding], language: str) -> str:
    """How many findings have each verdict, in a sentence."""
    counts = count_verdicts(findings)
    problems = counts[PROBLEM] if language == "zh" else f"{counts[PROBLEM]} problem{'s' * (counts[PROBLEM] != 1)}"
    return say("summary", language, **counts, problems=problems)


def default_language() -> str:
    """Chinese where the locale of the environment is, else English."""
    for name in LOCALE_VARIABLES:
        value = os.environ.get(name)
        if value:
            return "zh" if locale.normalize(value).lower().startswith("zh") else "en"
    return "en"


def check_language(language: str) -> str:
    """The language; raises ValueError for one that reports are not written in."""
    if language not in LANGUAGES:
        raise ValueError(f"lang={language!r} is not known; use one of {', '.join(LANGUAGES)}")
    return language
