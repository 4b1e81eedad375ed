"""Every command and every Python block of the documents is run (`make test-docs`), each page from top to bottom."""

from collections import Counter

import pytest

from tests.docs.markdown import documents, read_page
from tests.docs.reader import Reader
from tests.docs.running import KINDS, run_block

pytestmark = pytest.mark.docs


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    with Reader(tmp_path_factory.mktemp("reader")) as reader:
        yield reader


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.parent.name + "/" + path.name)
def test_what_a_page_tells_to_run(reader, path, record_property):
    page = read_page(path)
    folder = reader.desk(page) if page.blocks else None
    results = [result for block in page.blocks for result in run_block(reader, page, block, folder)]
    counts = Counter(result for result in results if result in KINDS)
    record_property("commands", (page.name, {kind: counts[kind] for kind in KINDS}))
    failures = [result for result in results if result not in KINDS]
    assert not failures, "\n\n".join(failures)
