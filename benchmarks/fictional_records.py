"""Fictional counselling records in any number, composed from the fragments of the embedded ones.

    python -m benchmarks.fictional_records OUTPUT.jsonl [--size 2000] [--seed 0] [--topics sleep grief]

The embedded Chinese records were composed from hand-written fragments: a person, an event, feelings, a method and its
effect. This module reads the fragments from the records and composes new records in the same form. All records of an
event share its problem and its outcome, as in the embedded file, so scores on them say little about real text.
"""

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from ft_core.io.files import write_text
from mt5_ft.runs.data import sample_path

COUNSELLOR, CLIENT = "心理咨询师：", "来访者："
MOST_REPEATS = 1000  # repeated draws in a row after which the fragments count as used up
PERSONS = ("来访者是一名{age}岁的{who}，{event}。", "{age}岁的{who}，{event}。", "{who}，{age}岁，{event}。")
COMPLAINTS = (
    "近{duration}来，{ta}常感到{feelings}，并有{body}等反应。",
    "{ta}说自己时常感到{feelings}，身体上有{body}等表现，已持续{duration}。",
)
DURATIONS = ("三周", "一个月", "一个多月", "两个月")
WEEKS = ("两周", "三周", "一个月")
PROCESSES = ("先倾听并梳理想法，再{method}，{weeks}后回顾效果", "了解经过和感受后，引导来访者{method}，{weeks}后复盘")
SUMMARIES = (
    "这位{who}为{problem}所困，感到{feelings}，并有{body}等反应。咨询师引导{ta}{method}，{weeks}后，{ta}{effect}，{outcome}。",
    "本例中，{who}的主要困扰是{problem}，表现为{feelings}，并有{body}等反应。在咨询中，{ta}{method}，{weeks}后{effect}，{outcome}。",
)
SUMMARIES_WITH_INSIGHT = (
    "{who}的困扰是{problem}，常感到{feelings}。通过{method}，{ta}{effect}，也{outcome}，并体会到{insight}。",
    "一名{age}岁的{who}带着{problem}的困扰前来，常感到{feelings}。在咨询师陪伴下，{ta}开始{method}，{weeks}后{outcome}，"
    "{effect}；{ta}明白了{insight}。",
)
_PERSON = [
    re.compile(text.format(age="(?P<age>\\d+)", who="(?P<who>[^，]+)", event="(?P<event>.+)")) for text in PERSONS
]
_PROBLEM = re.compile("带着(.+)的困扰前来|困扰是(.+?)，(?:常感到|表现为)|为(.+?)所困")
_METHOD = re.compile("(?:先倾听并梳理想法，再|了解经过和感受后，引导来访者)(.+)，(.+)后(?:回顾效果|复盘)")
_SYMPTOMS = re.compile("常感到(.+)，伴(.+)")
_THOUGHT = re.compile("我总在想：“(.+)”")
_INSIGHT = re.compile("我也慢慢明白，(.+)。")

Fragments = dict[str, list]  # by kind; a fragment occurs as often as in the records


def _fragments() -> Fragments:
    return defaultdict(list)


class Composer:
    """Composes records from the fragments of others.

    Args:
        records (`list` of `dict`): Chinese records in the form of the embedded ones.
    """

    def __init__(self, records: Iterable[dict]):
        self.shared = _fragments()
        self.topics: dict[str, Fragments] = defaultdict(_fragments)
        self.events: dict[str, dict[str, Fragments]] = defaultdict(lambda: defaultdict(_fragments))
        self.methods: dict[str, Fragments] = defaultdict(_fragments)
        for record in records:
            self._read(record)

    def _read(self, record: dict) -> None:
        first, _, *remarks = record["case_description"]
        person = next(found for found in (pattern.fullmatch(first) for pattern in _PERSON) if found)
        ta = "她" if any("她" in text for text in record["case_description"]) else "他"
        feelings, body = _SYMPTOMS.fullmatch(record["symptoms"]).groups()
        method, weeks = _METHOD.fullmatch(record["treatment_process"]).groups()
        effect, outcome = record["treatment_effect"].removeprefix(f"{weeks}后").split("，", 1)

        topic = self.topics[record["topic"]]
        topic["person"].append((person["who"], ta, int(person["age"])))
        topic["feelings"].append(feelings)
        topic["body"].append(body)
        topic["characteristics"].append(record["characteristics_of_illness"])
        for remark in remarks:
            is_wish = remark.startswith(f"{ta}希望通过咨询")
            (topic if is_wish else self.shared)["wish" if is_wish else "trait"].append(remark.replace(ta, "{ta}"))

        event = self.events[record["topic"]][person["event"].replace(ta, "{ta}")]
        event["cause"].append(record["causes"])
        event["outcome"].append(outcome)
        event["problem"].append(next(filter(None, _PROBLEM.search(record["experience_and_reflection"]).groups())))
        said = self._read_turns(record, event, self.methods[method], feelings, weeks)
        event["statement"].append(said.replace(f"身体也有反应，{body}。", ""))

        result, change, *closing = re.findall("[^。]+。", self._last_words(record, weeks))
        self.methods[method]["result"].append((result, effect))
        event["change"].append(change)
        if closing and (insight := _INSIGHT.fullmatch(closing[0])):
            topic["insight"].append(insight[1])
        else:
            self.shared["closing"].append("".join(closing).replace(feelings.split("、")[0], "{feeling}"))

    @staticmethod
    def _last_words(record: dict, weeks: str) -> str:
        return record["consultation_process"][-1].removeprefix(CLIENT).removeprefix(f"这{weeks}我都在照着做。")

    def _read_turns(self, record: dict, event: Fragments, method: Fragments, feelings: str, weeks: str) -> str:
        """Reads all turns but the last; returns what the client says first, without the thought."""
        turns = record["consultation_process"][:-1]
        if turns[0].startswith(COUNSELLOR):
            self.shared["opening"].append(turns.pop(0).removeprefix(COUNSELLOR))
        said, *turns = (turn.removeprefix(COUNSELLOR).removeprefix(CLIENT) for turn in turns)
        if thought := _THOUGHT.search(said):
            event["thought"].append(thought[1])
        else:
            question, answer, *turns = turns
            question = question.replace(feelings, "{feelings}").replace(feelings.split("、")[0], "{feeling}")
            self.shared["question"].append(question)
            event["thought"].append(answer)
        advice = turns[0].replace(f"我们{weeks}后再谈。", "")
        method["advice"].append(advice.replace(f"难怪你会觉得{feelings.split('、')[0]}", "难怪你会觉得{feeling}"))
        if len(turns) == 3:
            method["reply"].append(turns[1])
            self.shared["review"].append(turns[2].replace(weeks, "{weeks}"))
        return _THOUGHT.sub("", said)

    def compose(self, topic: str, draw: random.Random) -> dict:
        """One record of a topic, without an id."""
        of_topic = self.topics[topic]
        event_text = draw.choice(list(self.events[topic]))
        event = self.events[topic][event_text]
        method_text = draw.choice(list(self.methods))
        method = self.methods[method_text]
        who, ta, age = draw.choice(of_topic["person"])
        feelings, body = draw.choice(of_topic["feelings"]), draw.choice(of_topic["body"])
        (result, effect), weeks = draw.choice(method["result"]), draw.choice(WEEKS)
        has_insight = draw.random() < 0.5
        insight = draw.choice(of_topic["insight"])
        slots = {
            **{"who": who, "ta": ta, "age": max(age + draw.randint(-3, 3), 14), "feelings": feelings, "body": body},
            **{"feeling": feelings.split("、")[0], "method": method_text, "weeks": weeks, "effect": effect},
            **{"outcome": event["outcome"][0], "problem": event["problem"][0], "insight": insight},
            "duration": draw.choice(DURATIONS),
        }
        slots["event"] = event_text.format(ta=ta)
        closing = f"我也慢慢明白，{insight}。" if has_insight else draw.choice(self.shared["closing"]).format(**slots)
        kinds = self.shared["trait"], of_topic["wish"]
        remarks = [draw.choice(fragments) for fragments in kinds if draw.random() < 0.5]
        case = [draw.choice(PERSONS), draw.choice(COMPLAINTS), *remarks]
        summaries = SUMMARIES_WITH_INSIGHT if has_insight else SUMMARIES
        turns = self._turns(event, method, slots, draw)
        turns[-1] += f"{result}{draw.choice(event['change'])}{closing}"
        return {
            "lang": "zh",
            "topic": topic,
            "fictional": True,
            "case_description": [text.format(**slots) for text in case],
            "consultation_process": turns,
            "experience_and_reflection": draw.choice(summaries).format(**slots),
            "causes": event["cause"][0],
            "symptoms": f"常感到{feelings}，伴{body}",
            "treatment_process": draw.choice(PROCESSES).format(**slots),
            "characteristics_of_illness": draw.choice(of_topic["characteristics"]),
            "treatment_effect": f"{weeks}后{effect}，{slots['outcome']}",
        }

    def _turns(self, event: Fragments, method: Fragments, slots: dict, draw: random.Random) -> list[str]:
        """The turns of a consultation; the last is the beginning of the client's last one."""
        said, thought = draw.choice(event["statement"]), draw.choice(event["thought"])
        advice = draw.choice(method["advice"]).format(**slots)
        if draw.random() < 0.5:
            said += f"身体也有反应，{slots['body']}。"
        form = draw.choices(("asked", "said", "short"), (6, 4, 1))[0]
        turns = [f"{CLIENT}{said}" + ("" if form == "asked" else f"我总在想：“{thought}”")]
        if form != "short" and draw.random() < 0.6:
            turns.insert(0, COUNSELLOR + draw.choice(self.shared["opening"]))
        if form == "asked":
            turns += [COUNSELLOR + draw.choice(self.shared["question"]).format(**slots), CLIENT + thought]
        if form == "short":
            advice += f"我们{slots['weeks']}后再谈。"
            return [*turns, COUNSELLOR + advice, f"{CLIENT}这{slots['weeks']}我都在照着做。"]
        review = draw.choice(self.shared["review"]).format(**slots)
        return [*turns, COUNSELLOR + advice, CLIENT + draw.choice(method["reply"]), COUNSELLOR + review, CLIENT]


def embedded_records() -> list[dict]:
    """The embedded Chinese records."""
    rows = [json.loads(line) for line in sample_path().read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["lang"] == "zh"]


def compose_records(size: int, seed: int, topics: Sequence[str] | None = None) -> list[dict]:
    """Records with different sources; the same for the same arguments.

    Args:
        size (`int`): number of records.
        seed (`int`): seed of the selection.
        topics (`list` of `str`, *optional*): topics of the records, in turn. Default: all.

    Raises:
        ValueError: an unknown topic, or more records than the fragments can give.
    """
    composer, draw = Composer(embedded_records()), random.Random(seed)
    topics = topics or sorted(composer.topics)
    for topic in topics:
        if topic not in composer.topics:
            raise ValueError(f"topic={topic!r} is not known; use some of {', '.join(sorted(composer.topics))}")
    found: dict[str, dict] = {}
    repeats = 0
    while len(found) < size:
        record = composer.compose(topics[len(found) % len(topics)], draw)
        source = "\n".join(record["case_description"] + record["consultation_process"])
        repeats = repeats + 1 if source in found else 0
        if repeats > MOST_REPEATS:
            raise ValueError(f"size={size} is too large: the fragments gave only {len(found)} records; lower it")
        found.setdefault(source, {"id": f"fictional-{seed}-{len(found) + 1:05}", **record})
    return list(found.values())


def write_records(path: Path, records: Iterable[dict]) -> None:
    """Writes records as JSON lines."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def main() -> int:
    """Writes a file of records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--size", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--topics", nargs="+", help="default: all 16")
    options = parser.parse_args()
    write_records(options.output, compose_records(options.size, options.seed, options.topics))
    return 0


if __name__ == "__main__":
    sys.exit(main())
