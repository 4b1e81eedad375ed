"""Two ranks that find a branch at different commits; writes which one each of them goes on with."""

from pathlib import Path

from ft_core.hub.resolve import pin
from ft_core.runs.processes import leave_group_at_exit, process_group
from kronos_ft.training.arguments import ModelArguments


def main(output):
    rank = process_group().process_index
    leave_group_at_exit()
    moving = iter(["a" * 40, "b" * 40][rank:])

    def find(revision):
        return Path("models--me--model", "snapshots", revision or next(moving))

    start = pin(ModelArguments(model="me/model"), "me/model", find, None)
    pinned = start.settings
    assert start.folder.name == pinned.revision
    Path(f"{output}-rank{rank}.txt").write_text(f"{pinned.repository} {pinned.revision}")
