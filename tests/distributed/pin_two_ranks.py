"""Two ranks that find a branch at different commits; writes which one each of them goes on with."""

from pathlib import Path

from ft_core.hub.origin import HubOrigin
from ft_core.hub.pinned_revision import pin
from ft_core.runs.processes import leave_group_at_exit, process_group
from kronos_ft.training.arguments import ModelArguments


def main(output):
    rank = process_group().process_index
    leave_group_at_exit()
    moving = iter(["a" * 40, "b" * 40][rank:])
    pinned = pin(ModelArguments(model="me/model"), "me/model", lambda _: HubOrigin("me/model", next(moving)), None)
    Path(f"{output}-rank{rank}.txt").write_text(f"{pinned.repository} {pinned.revision}")
