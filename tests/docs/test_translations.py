"""The Chinese pages say what the English ones say: sections, code, tables, links, figures; no sentence is broken."""

import re
from collections import Counter
from itertools import pairwise

import pytest

from docs.translations import pairs, section_hashes, untranslated
from tests.docs.markdown import ROOT, chinese_documents, read_page

PAIRS = {english: (read_page(ROOT / english), read_page(ROOT / chinese)) for english, chinese in pairs().items()}
CHINESE_ONLY = Counter(["pip config set global.index-url https://pypi.tuna.tsinghua.edu.cn/simple"])  # in README_zh.md
LINK = re.compile(r"\]\(([^)\s]+)\)")
SCALES = {" million": 10**6, "亿": 10**8, "万": 10**4}
CATALOGUES = [f"{package}/report/catalogue/zh.yaml" for package in ("ft_core", "kronos_ft", "mt5_ft")]
OTHER_TERMS = {  # one Chinese term for one thing: a pattern of what is not written, and what is written instead
    "基线": "基准",
    "回看长度": "上下文长度",
    "回看窗口": "上下文",
    "历史窗口": "上下文",
    "粗粒度词元": "粗词元",
    "细粒度词元": "细词元",
    "占位符": "哨兵标记",
    "奈特": "nats",
    r"\bnat\b": "nats",
    r"(?:[个的粗细]|全部|多|有效|候选)(?<!退出的)码(?!本)": "编码",
    "相邻记录|条记录的(?:损失|学习率|梯度)|的记录超过": "日志点",
}
STARTS_A_BLOCK = re.compile(r"\s*$|#|\||```|<!--|!\[|\s*[-*] |\s*\d+\. ")


def figures(text):
    """Numbers of a text, those before a word for a power of ten written out."""
    for word, scale in SCALES.items():
        text = re.sub(rf"(\d+\.?\d*) ?{word}", lambda match, scale=scale: f"{round(float(match[1]) * scale):,}", text)
    return sorted(re.findall(r"\d[\d,.]*\d|\d", text))


def code_of(page):
    """Blocks without comments, which are in the page's language; the tree of files is in both languages."""
    blocks = [block for block in page.blocks if block.language and not block.text.startswith("ft_core/ ")]
    return [(block.language, block.directives.keys(), re.sub(r" *#.*", "", block.text)) for block in blocks]


def inline_code(text):
    return Counter(re.findall(r"`([^`]+)`", text))


def sections(page):
    """What stands under each heading, without tables."""
    found = [""]
    for line in page.prose:
        if line.startswith("#"):
            found.append("")
        elif not line.startswith("|"):
            found[-1] += line + "\n"
    return found


def blocks_of(section):
    """How many paragraphs and items of lists a section has."""
    lines = ["", *section.splitlines()]
    items = [line for line in lines if re.match(r"[-*] |\d+\. ", line)]
    paragraphs = [line for before, line in pairwise(lines) if not before.strip() and not STARTS_A_BLOCK.match(line)]
    return len(paragraphs), len(items)


def targets(page):
    """What a page links to, Chinese pages named by the English ones; not the link to the page in the other language."""
    english = {ROOT / chinese: ROOT / name for name, chinese in pairs().items()}
    found = []
    for target in LINK.findall("\n".join(page.prose)):
        place, _, anchor = target.partition("#")
        path = (page.path.parent / place).resolve()
        if re.match(r"\w+:", target):
            found.append((target, False))
        elif english.get(path, path) != english.get(page.path, page.path):
            found.append((english.get(path, path).relative_to(ROOT).as_posix(), bool(anchor)))
    return found


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


def test_every_change_of_an_english_page_was_translated():
    assert not untranslated(), "let the Chinese pages follow these sections, then run python -m docs.translations"


def test_a_changed_sentence_is_noticed_and_a_moved_line_break_is_not():
    page = "# A\n\none two\n\n## B\n\n```bash\n# three\n```\n"
    assert section_hashes(page) == section_hashes(page.replace("one two", "one\ntwo"))
    changed = section_hashes(page.replace("three", "four"))
    assert [name for name, digits in section_hashes(page).items() if changed[name] != digits] == ["B"]


def test_sections_are_the_same(pair):
    levels = [[heading.split(" ")[0] for heading in page.headings] for page in pair]
    assert levels[0] == levels[1]


def test_code_is_the_same(pair):
    english, chinese = pair
    assert code_of(english) == code_of(chinese)


def test_tables_hold_the_same_figures(pair):
    english, chinese = pair
    assert len(english.tables) == len(chinese.tables)
    for ours, theirs in zip(english.tables, chinese.tables, strict=True):
        assert [len(row) for row in ours] == [len(row) for row in theirs], ours[0]
        for row, other in zip(ours, theirs, strict=True):
            assert figures(" ".join(row)) == figures(" ".join(other)), (row, other)


def test_tables_name_the_same_code(pair):
    for ours, theirs in zip(*(page.tables for page in pair), strict=True):
        for row, other in zip(ours, theirs, strict=True):
            assert inline_code(" ".join(row)) == inline_code(" ".join(other)), (row, other)


def test_paragraphs_are_the_same_in_number_and_name_the_same_code(pair):
    for heading, ours, theirs in zip(["", *pair[0].headings], *map(sections, pair), strict=True):
        assert blocks_of(ours) == blocks_of(theirs), heading
        assert inline_code(ours) == inline_code(theirs) - CHINESE_ONLY, heading
        missing = Counter(figures(ours)) - Counter(figures(theirs))
        assert not missing, f"{heading}: {missing}"


def test_links_lead_to_the_same_pages(pair):
    english, chinese = pair
    assert sorted(targets(english)) == sorted(targets(chinese))


@pytest.mark.parametrize("path", chinese_documents(), ids=lambda path: path.name)
def test_a_link_leads_to_the_chinese_page_where_there_is_one(path):
    chinese = {ROOT / english: ROOT / name for english, name in pairs().items()}
    own = next(english for english, name in chinese.items() if name == path)
    for target in LINK.findall("\n".join(read_page(path).prose)):
        place = (path.parent / target.partition("#")[0]).resolve()
        assert place == own or place not in chinese, target


@pytest.mark.parametrize("path", chinese_documents(), ids=lambda path: path.name)
def test_no_line_break_is_inside_a_sentence(path):
    broken = [line for line, after in pairwise(read_page(path).prose) if is_broken(line, after)]
    assert not broken, "one paragraph is one line: a line break becomes a space between Chinese characters"


@pytest.mark.parametrize("path", [*(str(path.relative_to(ROOT)) for path in chinese_documents()), *CATALOGUES])
def test_chinese_texts_use_one_term_for_one_thing(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    found = {word: instead for word, instead in OTHER_TERMS.items() if re.search(word, text)}
    assert not found, f"{path}: write the second term instead of the first"


def is_broken(line, after):
    """Whether a line of prose is continued by the next."""
    ends = not line.strip() or re.match(r"#|\||<!--|!\[", line)
    return not ends and not STARTS_A_BLOCK.match(after)


def test_a_broken_sentence_is_noticed():
    assert is_broken("用同一命令加", "`--resume` 继续。")
    assert is_broken("- 第一行，", "第二行。")
    assert not is_broken("第一段。", "")
    assert not is_broken("| 表 |", "正文")
