"""The crontab of examples/cron: its commands as cron runs them, and cron itself, against the sandbox."""

import http.server
import os
import re
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest
from example_runs import (
    EXAMPLES,
    TIMEOUT,
    assert_loaded_once,
    assert_nothing_secret,
    block,
    dead_address,
    empty_database,
    masked,
    require,
    run_privately,
    stores,
    table_id,
    write_store,
)
from sandbox import binary, open_url

CRONTAB = EXAMPLES / "cron" / "yotpo-td"
SCRIPT = EXAMPLES / "cron" / "load-customers"
NAMES = ("shop_us", "shop_eu")


store = stores(seed=31, count=2)


@pytest.fixture(autouse=True)
def database(store):
    with empty_database(store):
        yield


def read_crontab() -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Variables, and (schedule, user, command) of each job, by the rules of crontab(5) for /etc/cron.d."""
    variables, jobs = {}, []
    for line in CRONTAB.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        assignment = re.fullmatch(r"([A-Z_]+)=(\S*)", line)
        if assignment:
            variables[assignment[1]] = assignment[2]
            continue
        *schedule, user, command = line.split(None, 6)
        assert len(schedule) == 5 and all(re.fullmatch(r"[0-9*,/-]+", field) for field in schedule), line
        # cron would turn % into a line break.
        assert "%" not in command
        jobs.append((" ".join(schedule), user, command))
    return variables, jobs


class Machine:
    """A directory with the files that the page creates, in which cron's commands run. `sleep` returns at once, and is counted; `id`
    prints the user of the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "yotpo-td").symlink_to(binary())
        text = SCRIPT.read_text()
        assert text.count("directory=/etc/yotpo-td\n") == 1
        self.program("load-customers", text.replace("directory=/etc/yotpo-td\n", f"directory={self.settings}\n"))
        self.program("id", "#!/bin/sh\necho yotpo-td\n")
        self.program("sleep", f'#!/bin/sh\necho "$1" >> {folder}/sleeps\n')

    @property
    def settings(self) -> Path:
        return self.folder / "etc"

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def sleeps(self) -> list[str]:
        path = self.folder / "sleeps"
        return path.read_text().split() if path.exists() else []

    def run(self, command: str) -> tuple[int, str]:
        """As cron: a shell with few variables, and no terminal. What comes back is what cron would mail."""
        variables, _ = read_crontab()
        command = command.replace("/usr/local/bin/load-customers", str(self.bin / "load-customers"))
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        done = subprocess.run(
            [variables["SHELL"], "-c", command],
            cwd=home,
            env={"HOME": str(home), "LOGNAME": "yotpo-td", **variables, "PATH": f"{self.bin}:{variables['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        output = done.stdout.replace(str(self.bin / "load-customers"), "/usr/local/bin/load-customers")
        return done.returncode, output.replace(str(self.settings), "/etc/yotpo-td")


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def command_of(name: str) -> str:
    (found,) = [command for _, _, command in read_crontab()[1] if command.split()[-1] == name]
    return found


def body(mail: str) -> str:
    return mail.split("\n\n", 1)[1]


def test_the_crontab_loads_each_store_once_a_day():
    variables, jobs = read_crontab()
    assert variables["PATH"] == "/usr/bin:/bin" and "@" in variables["MAILTO"]
    assert [command.split() for _, _, command in jobs] == [["/usr/local/bin/load-customers", name] for name in NAMES]
    assert {user for _, user, _ in jobs} == {"yotpo-td"}
    for schedule, _, _ in jobs:
        assert re.fullmatch(r"\d+ \d+ \* \* \*", schedule)
    # cron ignores files in /etc/cron.d whose names have a dot, and a last line without an end.
    assert re.fullmatch(r"[A-Za-z0-9_-]+", CRONTAB.name) and CRONTAB.read_text().endswith("\n")
    assert os.access(SCRIPT, os.X_OK)


def test_a_success_prints_nothing(store, machine):
    for number, name in enumerate(NAMES):
        write_store(machine.settings, name, store, number)
        assert machine.run(command_of(name)) == (0, "")
        assert_loaded_once(store, f"yotpo_customers_{name}", store.stores[number]["YOTPO_STORE_ID"])
    assert machine.sleeps() == []


def test_a_second_start_on_the_same_day_loads_nothing_and_says_so(store, machine):
    write_store(machine.settings, "shop_us", store)
    assert machine.run(command_of("shop_us")) == (0, "")
    before = table_id(store, "yotpo_customers_shop_us")
    code, output = machine.run(command_of("shop_us"))
    assert code == 0
    (line,) = output.splitlines()
    assert "WARN this run id was loaded before, so nothing was loaded now" in line
    assert table_id(store, "yotpo_customers_shop_us") == before


def test_another_run_id_loads_again(store, machine):
    write_store(machine.settings, "shop_us", store)
    ids = set()
    for run_id in ("20260131", "20260201"):
        assert machine.run(f"{command_of('shop_us')} {run_id}") == (0, "")
        ids.add(table_id(store, "yotpo_customers_shop_us"))
    assert len(ids) == 2


class FailingYotpo(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the sandbox, after a 500 for the first request to each path."""

    endpoint = ""
    seen: set[str] = set()

    def pass_on(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
        status, found = 500, b"{}"
        if self.path in self.seen:
            kept = {name: self.headers[name] for name in ("X-Yotpo-Token", "Content-Type") if self.headers[name]}
            with open_url(urllib.request.Request(self.endpoint + self.path, data, kept)) as response:
                status, found = response.status, response.read()
        self.seen.add(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    do_GET = do_POST = pass_on

    def log_message(self, *_) -> None:
        pass


def test_requests_that_succeed_when_they_are_repeated_send_no_mail(store, machine):
    FailingYotpo.endpoint, FailingYotpo.seen = store["YOTPO_TD_YOTPO_ENDPOINT"], set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), FailingYotpo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        write_store(machine.settings, "shop_us", store, yotpo_endpoint=f"http://127.0.0.1:{server.server_port}")
        assert machine.run(command_of("shop_us")) == (0, "")
        server.shutdown()
    assert len(FailingYotpo.seen) > 2
    assert_loaded_once(store, "yotpo_customers_shop_us", store["YOTPO_STORE_ID"])


def test_an_outage_is_retried_and_the_mail_has_the_last_words(store, machine):
    write_store(machine.settings, "shop_us", store, yotpo_endpoint=dead_address())
    code, output = machine.run(command_of("shop_us"))
    assert code == 4
    assert machine.sleeps() == ["600", "600"]
    assert masked(output) == block("cron.md", "text", "error: could not fetch all customers from Yotpo\n  because: could not get an access token")
    assert_nothing_secret(output, store)
    # The command of the last line, once Yotpo works again.
    write_store(machine.settings, "shop_us", store)
    retry = output.splitlines()[-1].split(": sudo -u yotpo-td -H ")[1]
    assert machine.run(retry) == (0, "")
    assert_loaded_once(store, "yotpo_customers_shop_us", store["YOTPO_STORE_ID"])


def test_wrong_credentials_are_not_retried(store, machine):
    write_store(machine.settings, "shop_us", store, client_secret="wrong")
    code, output = machine.run(command_of("shop_us"))
    assert (code, machine.sleeps()) == (3, [])
    assert masked(output) == body(block("cron.md", "text", "From: "))


def test_a_store_without_files_fails_with_the_name_of_the_file(machine):
    machine.settings.mkdir()
    code, output = machine.run(command_of("shop_us"))
    assert code == 2 and "/etc/yotpo-td/shop_us.toml" in output


def test_a_name_is_required(machine):
    code, output = machine.run("/usr/local/bin/load-customers")
    assert code != 0 and "usage: load-customers STORE [RUN_ID]" in output


DRIVER = """\
set -eu
cd /checkout
{setup}
mkdir /output/mail && chmod 0777 /output/mail
cron -f -L 15 &
# The jobs are due at the next full minute.
for _ in $(seq 800); do
    [ ! -e /output/done ] || break
    sleep 0.1
done
sleep 1
kill %1
# The command at the end of the mail, with the secret corrected.
cp /etc/yotpo-td/shop_us.corrected /etc/yotpo-td/shop_us.client-secret
sh -c "$(sed -n 's/^load-customers: .* with the environment of this job: //p' /output/mail/*)" </dev/null >/output/retry 2>&1
"""
# As sudo -u USER -H, which is not on every machine.
SUDO = '#!/bin/sh\n[ "$1 $3" = "-u -H" ] || exit 1\nuser=$2\nshift 3\nexec runuser -u "$user" -- env HOME=/var/lib/yotpo-td "$@"\n'
# Instead of a mail server.
SENDMAIL = '#!/bin/sh\n{ echo "$*"; cat; } > /output/mail/$$\n'


def test_cron_sends_the_mail_of_the_page_and_none_after_a_success(store, tmp_path):
    """Debian's cron, as root, with the files of the example where they belong, and the user that the page creates."""
    require("cron")
    require("useradd")
    chown, check, copy = (block("cron.md", "sh", beginning) for beginning in ("chown ", "sudo -u yotpo-td -H env", "install -m 0755 "))
    of_shop_eu = [text.replace("shop_us", "shop_eu") for text in (chown, check)]
    setup = "\n".join([block("cron.md", "sh", "useradd "), chown, *of_shop_eu, copy])
    for folder in ("checkout/examples/cron", "etc/cron.d", "usr/bin", "usr/sbin"):
        (tmp_path / folder).mkdir(parents=True)
    crontab = re.sub(r"^\d+ +\d+ ", "* * ", CRONTAB.read_text(), flags=re.MULTILINE)
    # At the end of the minute: when both have ended.
    crontab += "* * * * * root sleep 5; touch /output/done\n"
    (tmp_path / "checkout/examples/cron" / CRONTAB.name).write_text(crontab)
    (tmp_path / "checkout/examples/cron" / SCRIPT.name).write_text(SCRIPT.read_text())
    for name, text in (("usr/bin/sudo", SUDO), ("usr/sbin/sendmail", SENDMAIL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    write_store(tmp_path / "etc/yotpo-td", "shop_us", store, client_secret="wrong")
    (tmp_path / "etc/yotpo-td/shop_us.corrected").write_text(store.stores[0]["YOTPO_CLIENT_SECRET"])
    write_store(tmp_path / "etc/yotpo-td", "shop_eu", store, 1)
    done = run_privately(tmp_path, "bash", "-c", DRIVER.format(setup=setup))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "output/done").exists(), done.stderr
    # The check runs as the user who can read the secrets now.
    assert "✓ yotpo_token" in done.stdout, done.stdout
    assert (tmp_path / "output/retry").read_text() == ""
    for number, name in enumerate(NAMES):
        assert_loaded_once(store, f"yotpo_customers_{name}", store.stores[number]["YOTPO_STORE_ID"])
    # shop_us failed, and shop_eu sent nothing.
    (mail,) = [path.read_text() for path in (tmp_path / "output/mail").iterdir()]
    recipient, mail = mail.split("\n", 1)
    assert recipient.endswith(read_crontab()[0]["MAILTO"])
    shown = block("cron.md", "text", "From: ")
    headers = mail.split("\n\n", 1)[0].splitlines()
    for line in shown.split("\n\n", 1)[0].splitlines():
        assert line in [re.sub(r"<yotpo-td@[^>]+>", "<yotpo-td@shop-loader>", header) for header in headers], line
    assert masked(body(mail)) == body(shown)
    assert_nothing_secret(mail, store)
