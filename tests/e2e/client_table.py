"""The tables of client calls in docs/clients.md, from what the tests of the clients record.

A test records a row by `record_property(ROW, [client, variant, call, result])`. `make e2e` fails if the page differs
from what was recorded, `make clients` writes it.
"""

from collections import defaultdict

import pytest

from tests.paths import ROOT

PAGE = ROOT / "docs" / "clients.md"
BEGIN, END = "<!-- begin: written by `make clients` -->\n", "<!-- end -->\n"
ROW = "client call"
Tables = dict[str, dict[str, dict[str, str]]]  # client -> call -> variant -> result


class ClientTable:
    """A plugin of pytest. `write`: whether the page is written, or compared."""

    def __init__(self, *, write: bool) -> None:
        self._write = write
        self._tables: Tables = defaultdict(lambda: defaultdict(dict))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the process that prints the results, also if others run the tests."""
        if report.when != "call" or not report.passed:
            return
        for name, value in report.user_properties:
            if name == ROW and isinstance(value, list):
                client, variant, call, result = value
                self._tables[client][call][variant] = result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus:
            return
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        after = rest.partition(END)[2]
        made = before + BEGIN + render(self._tables) + "\n" + END + after
        if self._write:
            PAGE.write_text(made, encoding="utf-8")
        elif made != page:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            reporter = session.config.pluginmanager.getplugin("terminalreporter")
            reporter.write_line("\ndocs/clients.md differs from what the clients did; run: make clients", red=True)


def render(tables: Tables) -> str:
    return "".join(_table(client, tables[client]) for client in sorted(tables))


def _table(client: str, calls: dict[str, dict[str, str]]) -> str:
    variants = list(dict.fromkeys(variant for results in calls.values() for variant in results))
    rows = [["call", *variants], ["---"] * (len(variants) + 1)]
    rows += [[call, *(results.get(variant, "") for variant in variants)] for call, results in calls.items()]
    return f"\n### {client}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
