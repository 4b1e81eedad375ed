"""A pytest plugin that ends `make test-docs` with how many commands of each page were run, parsed, or not run."""


def pytest_terminal_summary(terminalreporter):
    rows = [
        counted
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, counted in getattr(report, "user_properties", ())
        if name == "commands" and report.when == "call"
    ]
    if not rows:
        return
    terminalreporter.section("commands of the documents")
    kinds = list(rows[0][1])
    for page, counts in sorted(map(tuple, rows)):
        if any(counts.values()):
            terminalreporter.write_line(f"{page:36}" + "".join(f"{counts[kind]:6} {kind}" for kind in kinds))
    sums = {kind: sum(counts[kind] for _, counts in rows) for kind in kinds}
    terminalreporter.write_line(f"{'all':36}" + "".join(f"{sums[kind]:6} {kind}" for kind in kinds))
