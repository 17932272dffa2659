"""Checks the metrics, the alerts and the dashboard with the real programs, on runs of yotpo-td against its mock servers.

Usage: check.py PROGRAM. It needs prometheus, promtool, prometheus-node-exporter, prometheus-pushgateway and libfaketime. It takes
about two minutes. Everything listens on this machine only and is in a temporary directory.
"""

import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from documents import Documents
from faults import Hang, Reply, fail_every, fail_from, hang_from
from programs import Failure, Programs, Prometheus, Sandbox, clean_environment, free_port, get, post, stop, wait_for
from runs import Running, Runs, lose_session_at_commit

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
HOUR = 3600
# Runs that several scrapes must see take longer than this.
SCRAPE_SECONDS = 1

IMPATIENT = ("--max-retries=1", "--retry-base-delay=10ms")


def no_fault(_method: str, _path: str) -> None:
    """Everything is forwarded."""


# Each alert, and the tables for which it must be pending or firing. yotpo_customers is the default: a run without a database.
EXPECTED: dict[str, set[str]] = {
    "YotpoTdRunFailed": {"failing", "credentials", "guarded", "td_down", "disk", "yotpo_customers"},
    "YotpoTdTableUnknown": {"unknown"},
    "YotpoTdRowsDropped": {"dropped"},
    "YotpoTdManyRetries": {"retries"},
    "YotpoTdLimitUsedByOthers": {"limited"},
    "YotpoTdInterruptedRunExpires": {"failing"},
    "YotpoTdRunStalled": {"stalled"},
    "YotpoTdRunDied": {"died_file", "died_scraped"},
}
# Tables for which YotpoTdLate must fire after so many hours: all that have a database. Of one, only a scrape knows the last success.
LATE = {
    25: set(),
    27: {"healthy", "dropped", "failing", "guarded", "retries", "limited", "unknown", "credentials", "td_down", "disk", "died_file", "died_scraped"},
}
LATE[51] = LATE[27] | {"stalled"}


def say(text: str) -> None:
    """Reports what was checked."""
    print(f"monitoring: {text}", flush=True)


def require(condition: object, text: str) -> None:
    """Fails with `text` unless `condition`."""
    if not condition:
        raise Failure(text)


class Check:
    """The servers, and the runs that they see."""

    def __init__(self, programs: Programs) -> None:
        self.programs, work = programs, programs.work
        self.textfiles = work / "textfiles"
        self.textfiles.mkdir()
        self.ports = {name: free_port() for name in ("prometheus", "node", "pushgateway")}
        # For runs that are scraped while they work.
        self.run_ports = [free_port() for _ in range(4)]
        self.pushgateway = f"http://127.0.0.1:{self.ports['pushgateway']}"
        self.fast = programs.sandbox("fast", "--customers=5000", "--requests-per-second=off", "--stores=2")
        self.small = programs.sandbox("small", "--customers=300", "--requests-per-second=off")
        self.limited = programs.sandbox("limited", "--customers=7500", "--requests-per-second=5", "--import-time=4s")
        post(
            f"{self.fast.variables['TD_API_SERVER']}/v3/database/create/my_database",
            {"Authorization": f"TD1 {self.fast.variables['TD_API_KEY']}"},
        )
        self.runs = Runs(programs, self.textfiles, self.pushgateway)
        self.prometheus = Prometheus(self.ports["prometheus"])
        self.started = time.time()

    def start_exporters(self) -> None:
        """node_exporter with the textfile collector only, and the Pushgateway."""
        node, pushgateway = (f"127.0.0.1:{self.ports[name]}" for name in ("node", "pushgateway"))
        self.programs.serve(
            "node",
            ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
             f"--collector.textfile.directory={self.textfiles}", f"--web.listen-address={node}"],
            f"http://{node}/metrics",
        )  # fmt: skip
        # The default of Debian is a file in /var/lib.
        self.programs.serve(
            "pushgateway", ["prometheus-pushgateway", "--persistence.file=groups", f"--web.listen-address={pushgateway}"],
            f"http://{pushgateway}/-/ready",
        )  # fmt: skip

    def start_prometheus(self) -> None:
        """Prometheus with the configuration and the alerts of the examples, on other ports and faster."""
        text = (EXAMPLES / "prometheus/prometheus.yml").read_text()
        runs = ", ".join(f'"127.0.0.1:{port}"' for port in self.run_ports)
        for old, new in (
            ("scrape_interval: 15s", "scrape_interval: 1s"), ("scrape_interval: 5s", "scrape_interval: 1s"),
            ("evaluation_interval: 30s", "evaluation_interval: 1s"), ('"127.0.0.1:9464"', runs),
            ("127.0.0.1:9100", f"127.0.0.1:{self.ports['node']}"), ("127.0.0.1:9091", f"127.0.0.1:{self.ports['pushgateway']}"),
        ):  # fmt: skip
            require(old in text, f"prometheus.yml no longer has {old!r}")
            text = text.replace(old, new)
        (self.programs.work / "prometheus.yml").write_text(text)
        (self.programs.work / "alerts.yml").write_text((EXAMPLES / "prometheus/alerts.yml").read_text())
        self.programs.serve(
            "prometheus",
            ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb",
             f"--web.listen-address=127.0.0.1:{self.ports['prometheus']}"],
            f"{self.prometheus.url}/-/ready",
        )  # fmt: skip

    # ------------------------------------------------------------------ runs

    def before_prometheus(self) -> Running:
        """Runs that Prometheus only sees standing still. Returns the one that is stalled."""
        died = self.runs.start("died_file", self.fast, file=True, yotpo=hang_from(3), port=free_port())
        died.wait_until("/metrics", 'phase="fetching"} 1.0')
        wait_for("the file of a running run", self.runs.file("died_file").exists)
        self.runs.check("the file during a run", self.runs.file("died_file").read_text())
        require(stop(died.process, signal.SIGKILL) == -signal.SIGKILL, "the run did not die")
        require('running{store_id="sandbox-store",database="yotpo",table="died_file"} 1.0' in self.runs.file("died_file").read_text(),
                "the file of a run that died does not say that it works")  # fmt: skip
        # Only the state of the machine knows of its success.
        self.stalling = self.runs.proxy(self.fast.variables["YOTPO_TD_YOTPO_ENDPOINT"], no_fault)
        self.runs.finish(0, None, "stalled", self.fast, file=False, push=False, yotpo=self.stalling.url)
        self.stalling.decide = hang_from(30)
        return self.runs.start("stalled", self.fast, "--request-timeout=1h", yotpo=self.stalling.url, port=self.run_ports[0])

    def many_runs(self) -> None:
        """Runs that end in each way."""
        runs, fast, small = self.runs, self.fast, self.small
        runs.finish(0, None, "healthy", fast)
        runs.finish(0, None, "healthy", fast, store=1)
        runs.finish(0, None, "dropped", fast)
        # The address is a part of what identifies a run, so all attempts use the proxy.
        self.failing = runs.proxy(fast.variables["YOTPO_TD_YOTPO_ENDPOINT"], no_fault)
        runs.finish(0, None, "failing", fast, yotpo=self.failing.url)
        runs.finish(0, None, "guarded", fast, "--mode=replace")
        runs.finish(0, None, "died_scraped", fast, file=False)
        self.wait_for_samples("yotpo_td_last_success_rows", "dropped", "failing", "died_scraped")
        runs.finish(0, None, "dropped", small)
        self.failing.decide = fail_from(20, 503)
        runs.finish(4, "yotpo_page_failed", "failing", fast, *IMPATIENT, "--resume-within=1h", yotpo=self.failing.url)
        runs.finish(7, "guard_tripped", "guarded", fast, "--mode=replace", yotpo=small.variables["YOTPO_TD_YOTPO_ENDPOINT"])
        runs.finish(9, "commit_unknown", "unknown", fast, "--run-id=one", treasure_data=lose_session_at_commit(fast))
        runs.finish(3, "yotpo_credentials_refused", "credentials", fast, environment={"YOTPO_CLIENT_SECRET": "wrong"})
        runs.finish(5, "treasure_data_failed", "td_down", fast, "--max-retries=0", treasure_data=lambda _method, path: Reply(503) if "upload_part" in path else None)
        runs.finish(2, "settings_invalid", None, fast, environment={"TD_DATABASE": ""})
        (self.programs.work / "a_file").touch()
        runs.finish(6, "state_failed", "disk", fast, environment={"YOTPO_TD_STATE_DIR": str(self.programs.work / "a_file")})
        # A run that works has the lock.
        runs.finish(8, "run_active", "limited", self.limited, file=False, yotpo=self.limiting)
        self.wait_for_samples('yotpo_td_failure{code="run_active"} == 1', "limited")
        failed = self.prometheus.query('ALERTS{alertname="YotpoTdRunFailed"}')
        require("limited" not in {series["table"] for series in failed}, f"a run that found another one active is a failure: {failed}")
        died = runs.start("died_scraped", fast, push=True, yotpo=hang_from(3), port=self.run_ports[1])
        self.wait_for_samples('yotpo_td_running{job="yotpo_td_run"}', "died_scraped")
        stop(died.process, signal.SIGKILL)
        runs.finish(0, None, "retries", fast, "--retry-base-delay=1ms", "--page-size=45", yotpo=fail_every(4, 503))

    def others(self) -> None:
        """A run while another client uses the limit, which is another yotpo-td. It is scraped, and its file is read meanwhile."""
        command, environment = self.runs.command("other", self.limited, ("--dry-run",), environment={"YOTPO_TD_REQUESTS_PER_SECOND": "3"})
        self.other = self.programs.start("other", command, environment)
        # The mock server reports only what remains.
        yotpo = self.runs.proxy(self.limited.variables["YOTPO_TD_YOTPO_ENDPOINT"], no_fault, [("RateLimit-Limit", "5")])
        self.limiting = yotpo.url
        self.limited_run = self.runs.start(
            "limited", self.limited, file=True, push=True, yotpo=yotpo.url, environment={"YOTPO_TD_REQUESTS_PER_SECOND": "4.5"},
            port=self.run_ports[2],
        )  # fmt: skip
        self.limited_run.wait_until("/metrics", 'phase="fetching"} 1.0')
        self.runs.check("a run that is scraped", self.limited_run.get("/metrics")[1])
        self.runs.check("the file of a run that works", self.runs.file("limited").read_text())

    def wait_for_samples(self, expr: str, *tables: str) -> None:
        """Until Prometheus has scraped these tables."""
        wait_for(f"samples of {expr}", lambda: {series.get("table") for series in self.prometheus.query(expr)} >= set(tables))

    # ------------------------------------------------------------------ checks

    def exporters(self) -> None:
        """What node_exporter and the Pushgateway expose."""
        self.wait_for_samples('yotpo_td_exit_code{job="node"}', "healthy", "failing")
        errors = self.prometheus.query("node_textfile_scrape_error")
        require([series["value"] for series in errors] == [0], f"node_textfile_scrape_error: {errors}")
        stores = self.prometheus.query('yotpo_td_last_success_rows{job="node",table="healthy"}')
        require(len({series["store_id"] for series in stores}) == 2, f"two targets in one directory: {stores}")
        status, body = get(f"{self.pushgateway}/api/v1/metrics")
        groups = [group["labels"] for group in json.loads(body)["data"]]
        keys = {tuple(sorted(group)) for group in groups}
        target = ("database", "job", "store_id", "table")
        # The settings of one run lack a database.
        require(status == 200 and keys == {target, ("job", "store_id", "table")}, f"grouping keys: {keys}")
        require({group["job"] for group in groups} == {"yotpo_td"}, f"jobs: {groups}")
        healthy = {group["store_id"] for group in groups if group.get("table") == "healthy"}
        require(len(healthy) == 2, f"two stores share a group: {groups}")
        pushed = self.prometheus.query('yotpo_td_exit_code{job="yotpo_td"}')
        require(pushed and all("instance" not in series and "exported_job" not in series for series in pushed), f"pushed: {pushed}")
        for table, code, rows in (("failing", 4, 5000), ("guarded", 7, 5000), ("healthy", 0, 5000)):
            matchers = f'{{job="yotpo_td",table="{table}",store_id="sandbox-store"}}'
            found = [self.prometheus.query(f"yotpo_td_{name}{matchers}") for name in ("exit_code", "last_success_rows", "last_success_timestamp_seconds")]
            values = [series[0]["value"] for series in found if series]
            require(values[:2] == [code, rows] and len(values) == 3 and values[2] > self.started - 1, f"pushed metrics of {table}: {found}")
        say(f"node_exporter reads {len(list(self.textfiles.glob('*.prom')))} files; the Pushgateway has {len(groups)} groups, the last success after a failure too")

    def alerts(self) -> None:
        """Each alert is pending or firing for what happened, for nothing else, and all rules work."""
        rules = [rule for group in self.prometheus.api("rules")["groups"] for rule in group["rules"]]
        unhealthy = [rule for rule in rules if rule["health"] != "ok"]
        require(len(rules) > 10 and not unhealthy, f"rules: {unhealthy or rules}")
        alerts = {rule["name"]: rule["query"] for rule in rules if rule["type"] == "alerting"}
        require(set(alerts) == {*EXPECTED, "YotpoTdLate"}, f"alerts without a run that causes them, or the reverse: {set(alerts) ^ {*EXPECTED, 'YotpoTdLate'}}")
        for rule in rules:
            if rule["type"] == "recording":
                require(self.prometheus.query(rule["name"]), f"{rule['name']} has no data")

        def active() -> dict[str, set[str]]:
            found: dict[str, set[str]] = {name: set() for name in EXPECTED}
            for alert in self.prometheus.api("alerts")["alerts"]:
                found.setdefault(alert["labels"]["alertname"], set()).add(alert["labels"]["table"])
            return found

        try:
            wait_for("the alerts", lambda: active() == EXPECTED, 60, 0.5)
        except Failure:
            found = active()
            raise Failure("alerts, expected and found: " + "; ".join(
                f"{name}: {EXPECTED.get(name)} {found.get(name)}" for name in found if found[name] != EXPECTED.get(name)
            )) from None  # fmt: skip
        slowed = 'ALERTS{alertname="YotpoTdLimitUsedByOthers"} and on (table) yotpo_td_running == 1'
        require(self.prometheus.query_range(slowed, self.started, time.time(), 1), "YotpoTdLimitUsedByOthers while the run worked")
        for name, tables in EXPECTED.items():
            found = {series.get("table") for series in self.prometheus.query(alerts[name])}
            require(found == tables, f"the query of {name}: {found}")
        now = time.time()
        for hours, tables in LATE.items():
            found = {series["table"] for series in self.prometheus.query(alerts["YotpoTdLate"], now + hours * HOUR)}
            require(found == tables, f"YotpoTdLate after {hours} h: {found}")
        say(f"{len(alerts)} alerts, each for the runs that cause it and for no other")

    def resolve(self) -> None:
        """The same command, after the cause is corrected: what was interrupted is resumed, and the alerts end."""
        self.failing.decide = no_fault
        self.runs.finish(0, None, "failing", self.fast, "--resume-within=1h", yotpo=self.failing.url)

        def resolved() -> bool:
            return not [alert for alert in self.prometheus.api("alerts")["alerts"] if alert["labels"].get("table") == "failing"]

        wait_for("the alerts about a run that was resumed end", resolved)
        # As docs/operations.md says of a failure without a target.
        post(f"{self.pushgateway}/metrics/job/yotpo_td/store_id/sandbox-store/table/yotpo_customers", {}, "DELETE")
        say("a resumed run ends its alerts")

    def dashboard(self) -> None:
        """Every query of the dashboard, and every variable, returns data."""
        dashboard = json.loads((EXAMPLES / "grafana/yotpo-td.json").read_text())
        values = {variable["name"]: ".*" for variable in dashboard["templating"]["list"]}
        queries = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
        require(len(queries) > 30, f"only {len(queries)} queries")
        end = time.time()
        for title, expr in queries:
            expr = self.with_values(expr, values)
            found = self.prometheus.query_range(expr, self.started, end, 2)
            numbers = [value for series in found for value in series["values"] if value == value]
            require(numbers, f"panel {title!r} has no data: {expr}")
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query":
                continue
            wanted = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
            require(wanted, f"the query of ${variable['name']}: {variable['query']}")
            found = self.prometheus.api(f"label/{wanted[2]}/values", **{"match[]": self.with_values(wanted[1], values)})
            require(len(found) >= 1, f"${variable['name']} has no values")
            values[variable["name"]] = "|".join(found)
        say(f"{len(queries)} queries of the dashboard return data")

    @staticmethod
    def with_values(expr: str, values: dict[str, str]) -> str:
        """A query as Grafana sends it."""
        expr = expr.replace("$__rate_interval", "5s")
        for name, value in values.items():
            expr = expr.replace(f'"${name}"', f'"{value}"')
        require("$" not in expr, f"an unknown variable: {expr}")
        return expr

    def health(self, stalled: Running) -> None:
        """/readyz and /healthz of a run from its start, and of one that stands still."""
        require(stalled.get("/readyz")[0] == 200 and stalled.get("/healthz")[0] == 200, "the stalled run is not ready, or not well after a minute")
        refused = self.runs.start("not_ready", self.fast, "--request-timeout=1h", yotpo=lambda _method, path: Hang() if "access_tokens" in path else None)
        status, body = refused.get("/readyz")
        require(status == 503 and "access token" in body, f"/readyz before a token: {status} {body}")
        require(refused.get("/healthz")[0] == 200, "/healthz of a run that has just started")
        self.runs.check("metrics before the first response", refused.get("/metrics")[1])
        stop(refused.process, signal.SIGKILL)
        # Nobody reads its log, so its network thread waits when the pipe is full, which is after some hundred lines. When the log is
        # read again, the run works until page 450 and waits there, so that it can be seen. Its clock is a hundred times as fast.
        blocked = self.runs.start(
            "blocked", self.fast, "--log-level=debug", "--page-size=10", "--request-timeout=60s", "--retry-timeout=5m",
            yotpo=hang_from(450), stderr=subprocess.PIPE, environment={"LD_PRELOAD": faketime(), "FAKETIME": "+0 x100"},
        )  # fmt: skip
        require(blocked.get("/healthz")[0] == 200, "/healthz of a run that has just started")
        status, body = wait_for("/healthz reports a run that stands still", lambda: (found := blocked.get("/healthz"))[0] == 503 and found)
        # The two durations, and five minutes.
        found = re.fullmatch(r"stalled phase=fetching phase_seconds=\d+ unchanged_seconds=(\d+) limit_seconds=660\n", body)
        require(found and 660 < int(found[1]) < 2000, f"/healthz of a run that stands still: {body}")
        require(blocked.get("/readyz")[0] == 200, "/readyz of a run that stands still")
        reader = threading.Thread(target=blocked.process.stderr.read, daemon=True)
        reader.start()
        wait_for("/healthz of a run whose log is read again", lambda: blocked.get("/healthz")[0] == 200)
        stop(blocked.process, signal.SIGKILL)
        reader.join()
        say("/healthz and /readyz have 200 and 503 at the right times")


def faketime() -> str:
    """The library that lets a program see another clock."""
    found = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *Path("/usr/lib").glob("faketime/libfaketime.so.1")]
    require(found, "libfaketime is missing (Debian: faketime)")
    return str(found[0])


def main() -> None:
    started = time.monotonic()
    binary = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory(prefix="yotpo-td-monitoring-") as work, Programs(Path(work), binary) as programs:
        check = Check(programs)
        try:
            check.start_exporters()
            stalled = check.before_prometheus()
            check.start_prometheus()
            check.others()
            check.health(stalled)
            check.many_runs()
            check.exporters()
            wait_for("other clients slow the run down", lambda: check.prometheus.query('ALERTS{alertname="YotpoTdLimitUsedByOthers",table="limited"}'), 60)
            stop(check.other, signal.SIGINT)
            require(check.limited_run.process.wait(120) == 0, f"the run with other clients: {programs.log('run_limited')}")
            check.wait_for_samples('count_over_time(yotpo_td_run_end_timestamp_seconds{job="node"}[1h]) > 10', "limited", "retries")
            check.alerts()
            check.dashboard()
            Documents(programs, check.fast, check.ports, check.textfiles, stalled.port).run()
            check.resolve()
            for name, expected in (("SIGTERM", 143),):
                status = stop(stalled.process, signal.Signals[name])
                require(status == expected, f"{name}: exit code {status}")
            say(f"promtool accepts {check.runs.checked} sets of metrics; {time.monotonic() - started:.0f} s")
        except Failure as failure:
            raise SystemExit(f"monitoring: FAILED: {failure}") from None
        finally:
            check.runs.close()


if __name__ == "__main__":
    main()
