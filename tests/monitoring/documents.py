"""Executes the commands and the queries of docs/operations.md.

Each block marked `sh` must end with 0 and print something (or write what a later block reads), in the order of the page; each block
marked `promql` must return data. Only names and addresses of the examples are replaced.
"""

import json
import os
import re
import subprocess
from pathlib import Path

from programs import Failure, Programs, Prometheus, Sandbox, clean_environment, wait_for
from runs import FAST

PAGE = Path(__file__).resolve().parents[2] / "docs/operations.md"
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# What is not executed: what a reader copies into files, and what needs a build, a service manager or a cluster.
NOT_EXECUTED = {"console", "ini", "text", "yaml"}
# These blocks only write files.
SILENT = ("2> run.log",)


def fields(value: object) -> set[str]:
    """All keys of a JSON value."""
    if not isinstance(value, dict):
        return set()
    return set(value).union(*map(fields, value.values()))


class Documents:
    """The page, with the addresses of this check."""

    def __init__(self, programs: Programs, sandbox: Sandbox, ports: dict[str, int], textfiles: Path, run_port: int) -> None:
        self.programs, self.prometheus = programs, Prometheus(ports["prometheus"])
        self.replaced = {
            "127.0.0.1:9090": f"127.0.0.1:{ports['prometheus']}",
            "127.0.0.1:9091": f"127.0.0.1:{ports['pushgateway']}",
            "127.0.0.1:9464": f"127.0.0.1:{run_port}",
            "/var/lib/node_exporter/textfile": str(textfiles),
        }
        self.directory = programs.work / "operations"
        (self.directory / "bin").mkdir(parents=True)
        (self.directory / "bin/yotpo-td").symlink_to(programs.binary)
        self.environment = clean_environment() | sandbox.environment() | FAST
        self.environment |= {
            "YOTPO_TD_STATE_DIR": str(self.directory / "state"),
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
        }
        # The page names it.
        del self.environment["TD_DATABASE"]

    def run(self) -> None:
        """Executes the page."""
        text = PAGE.read_text()
        blocks = [(found[2], found[3], text[: found.start()].count("\n") + 1) for found in FENCE.finditer(text)]
        if text.count("```") != 2 * len(blocks):
            raise Failure(f"{PAGE.name}: a block does not end, or has no language")
        executed = {"sh": 0, "promql": 0}
        unused = set(self.replaced)
        for language, block, line in blocks:
            if language in NOT_EXECUTED:
                continue
            if language not in executed:
                raise Failure(f"{PAGE.name}:{line}: {language or 'no language'}")
            unused -= {name for name in unused if name in block}
            for name, actual in self.replaced.items():
                block = block.replace(name, actual)
            if language == "sh":
                self._command(block, line)
            else:
                self._query(block, line)
            executed[language] += 1
        if min(executed.values()) < 5 or unused:
            raise Failure(f"{PAGE.name}: executed {executed}, not found {unused}")
        print(f"monitoring: {executed['sh']} commands and {executed['promql']} queries of {PAGE.name} work", flush=True)

    def _command(self, block: str, line: int) -> None:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment,
            cwd=self.directory, timeout=60,
        )  # fmt: skip
        printed = (ended.stdout + ended.stderr).strip()
        silent = any(text in block for text in SILENT)
        self._check_fields(block, line)
        if ended.returncode != 0 or not (printed or silent):
            raise Failure(f"{PAGE.name}:{line}: exit status {ended.returncode}\n{block}\n{printed[-2000:]}")

    def _check_fields(self, block: str, line: int) -> None:
        """A field that the summary does not have would only print null."""
        for program in re.findall(r"jq (?:--\S+ )*(?:'([^']*)'|(\.\w+)) summary\.json", block):
            named = set(re.findall(r"[a-z_]+", re.sub(r'"[^"]*"', "", "".join(program)))) - {"and"}
            if unknown := named - fields(json.loads((self.directory / "summary.json").read_text())):
                raise Failure(f"{PAGE.name}:{line}: the summary has no {sorted(unknown)}")

    def _query(self, block: str, line: int) -> None:
        query = block.replace("[5m]", "[15s]").strip()

        def found() -> object:
            return [series for series in self.prometheus.query(query) if series["value"] == series["value"]]

        try:
            wait_for("data", found, 10)
        except Failure:
            raise Failure(f"{PAGE.name}:{line}: no data: {query}") from None
