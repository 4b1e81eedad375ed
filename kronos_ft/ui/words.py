"""All texts of the page, in English and Chinese."""

from collections.abc import Mapping

from ..evaluation.report import SKILL_NOTE

LANGUAGES = ("en", "zh")

_TEXTS: dict[str, tuple[str, str]] = {
    "language": ("en", "zh"),
    "full_stop": (".", "。"),
    "named": ("{name}: {text}", "{name}：{text}"),
    "title": ("Kronos forecast", "Kronos 预测"),
    "tab_forecast": ("Forecast", "预测"),
    "tab_evaluation": ("Evaluation", "评估"),
    "tab_report": ("Training report", "训练报告"),
    "parameters": ("parameters", "参数"),
    "tokenizer": ("tokenizer", "分词器"),
    "trained": ("trained for {steps} steps", "训练 {steps} 步"),
    "quantile_head": ("quantile head", "分位数头"),
    "candles": ("Candles", "K 线数据"),
    "data_run": ("{name}", "{name}"),
    "data_sample": ("embedded BTC sample", "内置 BTC 样例"),
    "data_upload": ("upload a file", "上传文件"),
    "upload": ("CSV or Parquet, at most {size}", "CSV 或 Parquet，最大 {size}"),
    "no_memory": (
        "Out of memory: choose fewer candles, fewer paths, fewer bars to forecast or a shorter context.",
        "内存不足：请减少 K 线数据、路径数、预测 K 线数或上下文长度。",
    ),
    "policy": ("Defective rows", "有缺陷的行"),
    "policy_error": ("reject the file", "拒绝该文件"),
    "policy_drop": ("drop the rows", "删除"),
    "policy_repair": ("repair if possible", "尽量修复"),
    "symbol": ("Symbol", "标的"),
    "bars_known": ("{bars} bars of {step}, {first} to {last} UTC", "{bars} 根 {step} K 线，{first} 至 {last} UTC"),
    "origin": ("Forecast from", "预测起点"),
    "origin_end": ("the end of the data", "数据末尾"),
    "origin_past": ("an earlier bar, to compare with the actual prices", "更早的 K 线，与实际走势比较"),
    "origin_time": ("First bar to forecast (UTC)", "第一根预测 K 线（UTC）"),
    "origin_hint": ("The model does not see this bar or any later bar.", "模型看不到这根及之后的 K 线。"),
    "earlier": ("◀ earlier", "◀ 更早"),
    "later": ("later ▶", "更晚 ▶"),
    "horizon": ("Bars to forecast", "预测 K 线数"),
    "paths": ("Paths", "路径数"),
    "kind": ("Forecast", "预测类型"),
    "kind_calibrated": ("calibrated", "校准后"),
    "kind_raw": ("raw", "未校准"),
    "kind_both": ("both, drawn over each other", "两者叠加"),
    "kind_own": ("other sampling settings", "其他采样设置"),
    "by_head": ("quantile head", "分位数头"),
    "by_sampling": ("sampled paths, T={T:g}, top_p={top_p:g}", "采样路径，T={T:g}，top_p={top_p:g}"),
    "head_paths": ("Paths of the quantile head", "分位数头的路径"),
    "head_paths_blocks": ("blocks of past bars", "由历史 K 线块组成"),
    "head_paths_sampled": ("sampled by the predictor", "由预测器采样"),
    "unused_by_blocks": (
        "Temperature and top_p have no effect: the paths are blocks of past bars, coupled to the distribution of the "
        "quantile head.",
        "温度和 top_p 不起作用：路径由历史 K 线块组成，并与分位数头的分布耦合。",
    ),
    "fixed_calibrated": (
        "Calibrated paths are sampled with T={T:g} and top_p={top_p:g}, chosen on the validation split.",
        "校准后的路径以 T={T:g}、top_p={top_p:g} 采样，这些值在验证集上选出。",
    ),
    "fixed_raw": (
        "Raw paths are sampled with T=1 and top_p=1.",
        "未校准的路径以 T=1、top_p=1 采样。",
    ),
    "sampling": ("Sampling and context", "采样与上下文"),
    "lookback": ("Bars of context", "上下文 K 线数"),
    "temperature": ("Temperature (0: most likely tokens)", "温度（0：取概率最高的词元）"),
    "top_p": (
        "top_p: sample from the most likely tokens up to this probability",
        "top_p：在累计概率达到此值的词元中采样",
    ),
    "seed": ("Seed", "随机种子"),
    "run": ("Forecast", "开始预测"),
    "progress": ("forecast bars", "预测 K 线"),
    "show": ("Show", "显示"),
    "layer_paths": ("paths", "路径"),
    "layer_90": ("90 % interval", "90 % 区间"),
    "layer_50": ("50 % interval", "50 % 区间"),
    "layer_levels": ("quantile bands", "分位数带"),
    "legend_raw": ("raw: median and 90 % interval", "未校准：中位数与 90 % 区间"),
    "layer_truth": ("actual candles", "实际走势"),
    "median": ("median", "中位数"),
    "known": ("candles", "K 线"),
    "origin_mark": ("origin", "起点"),
    "last_close": ("Last close", "最新收盘"),
    "at_end": ("Median after {bars} bars", "{bars} 根后的中位数"),
    "rise_at_end": ("Probability of a rise after {bars} bars", "{bars} 根后上涨的概率"),
    "rise_by_paths": ("share of {paths} paths above the last close", "{paths} 条路径中高于最新收盘的比例"),
    "rise_by_head": ("by the quantile head", "由分位数头给出"),
    "rise": ("P(up)", "上涨概率"),
    "band_at_end": ("{level} interval after {bars} bars", "{bars} 根后的 {level} 区间"),
    "happened": ("Actual close", "实际收盘"),
    "inside_50": ("inside the 50 % interval", "在 50 % 区间内"),
    "inside_90": ("inside the 90 % interval", "在 90 % 区间内"),
    "outside_90": ("outside the 90 % interval", "在 90 % 区间外"),
    "other_lookback": (
        "The context has {bars} bars, but the model was trained with {trained}: the forecast may be worse.",
        "上下文为 {bars} 根 K 线，而模型训练时为 {trained} 根：预测可能变差。",
    ),
    "long_horizon": (
        "The forecast has {bars} bars, but the model was trained to forecast {trained}: later bars may be worse.",
        "预测 {bars} 根 K 线，而模型训练时只预测 {trained} 根：靠后的 K 线可能更差。",
    ),
    "seen_train": (
        "The model was trained on bars up to {time} UTC: it has seen the bars that it forecasts here.",
        "模型的训练数据截至 {time} UTC：它见过这里所预测的 K 线。",
    ),
    "seen_validation": (
        "The model was selected by validation on bars up to {time} UTC: these bars are not an independent test.",
        "模型按截至 {time} UTC 的验证数据选出：这些 K 线不能作为独立检验。",
    ),
    "seen_unmatched": (
        "The model's run record does not name {symbol}, but its data reach to {time} UTC: if this is one of its "
        "markets under another name, the model has seen the bars that it forecasts here.",
        "模型的训练记录中没有 {symbol}，但其数据截至 {time} UTC："
        "若这是同一市场的另一个名称，模型见过这里所预测的 K 线。",
    ),
    "other_weights": (
        "This evaluation is of a different model ({models}; other weights than the model on this page).",
        "此评估针对其他权重（{models}），而不是本页的模型。",
    ),
    "touched": (
        "{share} of the forecast bars violated low <= open, close <= high and were corrected.",
        "{share} 的预测 K 线不满足“最低 <= 开盘、收盘 <= 最高”，已修正。",
    ),
    "table_title": ("Quantiles of the close over {paths} paths", "{paths} 条路径的收盘价分位数"),
    "table_title_head": ("Quantiles of the close by the quantile head", "分位数头给出的收盘价分位数"),
    "time": ("time (UTC)", "时间（UTC）"),
    "download_quantiles": ("Download quantiles (CSV)", "下载分位数（CSV）"),
    "download_paths": ("Download all paths (CSV)", "下载全部路径（CSV）"),
    "not_advice": (
        "A forecast is a probability distribution of a model, not investment advice. The evaluation tab shows whether "
        "the model is better than naive forecasts.",
        "预测是模型给出的概率分布，不构成投资建议；它是否优于朴素预测，见“评估”。",
    ),
    "verdict": ("Verdict", "结论"),
    "warning": ("Warning", "警告"),
    "judged_title": (
        "{target}: skill and coverage, {horizon} bars ahead",
        "{target}：预测技能与覆盖率，{horizon} 根之后",
    ),
    "judged_close": ("Close", "收盘价"),
    "judged_volatility": ("Volatility", "波动率"),
    "judged_probability_up": ("Probability of a rise", "上涨概率"),
    "judged_range": ("Range", "振幅"),
    "judged_volume": ("Volume", "成交量"),
    "against": ("{model} against {reference}", "{model} 对 {reference}"),
    "loss": ("loss", "损失"),
    "skill": ("skill", "预测技能"),
    "scores_title": ("Close, {horizon} bars ahead, {origins} origins", "收盘价，{horizon} 根之后，{origins} 个起点"),
    "skill_note": (
        SKILL_NOTE,
        "高于 0 %：优于基准预测。p：双侧 Diebold-Mariano 检验（HAC 方差）；"
        "即使毫无差别，平均每二十次比较也有一次 p < 0.05。点预测的 CRPS 等于其绝对误差，"
        "多数分布预测都优于它。",
    ),
    "skill_title": ("Skill against the other forecasts", "相对其他预测的预测技能"),
    "calibration_title": ("Prediction intervals, calibrated on the validation split", "用验证集校准的预测区间"),
    "no_evaluation": (
        "There is no evaluation yet. Run this command, then start the page again:",
        "尚无评估结果。运行以下命令生成，然后重新打开页面：",
    ),
    "no_report": (
        "There is no report yet. Run this command, then reload the page:",
        "尚无报告。运行以下命令生成，然后刷新页面：",
    ),
    "no_run": (
        "A model folder has no report: pass a run folder to see one.",
        "模型文件夹没有报告：请指定训练目录。",
    ),
    "stage_tokenizer": ("tokenizer", "分词器"),
    "stage_predictor": ("predictor", "预测器"),
    "stage_quantiles": ("quantile head", "分位数头"),
    "open": ("open", "开"),
    "high": ("high", "高"),
    "low": ("low", "低"),
    "close": ("close", "收"),
    "forecaster": ("forecaster", "预测方法"),
    "direction": ("direction", "方向"),
    "90 % width bp": ("90 % width bp", "90 % 宽度 bp"),
    "in 50 %": ("in 50 %", "50 % 内"),
    "in 80 %": ("in 80 %", "80 % 内"),
    "in 90 %": ("in 90 %", "90 % 内"),
    "absolute error": ("absolute error", "绝对误差"),
    "all horizons": ("all horizons", "全部步长"),
    "coverage": ("coverage", "覆盖率"),
    "calibrated": ("calibrated", "校准后"),
    "width bp": ("width bp", "宽度 bp"),
}


def words_of(language: str) -> Mapping[str, str]:
    """The page's texts by name; some contain fields for `str.format`.

    Raises:
        ValueError: an unknown language.
    """
    if language not in LANGUAGES:
        raise ValueError(f"lang={language!r} is not known; use one of {', '.join(LANGUAGES)}")
    return {name: texts[LANGUAGES.index(language)] for name, texts in _TEXTS.items()}
