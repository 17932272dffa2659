"""The units of examples/systemd: checked by systemd-analyze, and started by systemd itself against the sandbox."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tdclient
from example_runs import (
    CUSTOMERS,
    DATABASE,
    EXAMPLES,
    TIMEOUT,
    assert_loaded_once,
    assert_nothing_secret,
    block,
    dead_address,
    masked,
    require,
    run_privately,
    write_store,
)
from sandbox import Sandbox

UNITS = EXAMPLES / "systemd"
SERVICE, TIMER, FAILURE = "yotpo-td@.service", "yotpo-td@.timer", "yotpo-td-failure@.service"
# In tenths, as systemd-analyze wants it. docs/systemd.md says the same.
MAX_EXPOSURE = 15


@pytest.fixture
def root(tmp_path):
    """A directory with the units of the example and of this machine, for systemd-analyze."""
    require("systemd-analyze")
    units = tmp_path / "etc/systemd/system"
    shutil.copytree(UNITS, units)
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    shutil.copytree("/usr/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for path in ("bin/sh", "usr/bin/yotpo-td"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("#!/bin/sh\n")
        (tmp_path / path).chmod(0o755)
    return tmp_path


def verify(root: Path) -> str:
    """What systemd-analyze reports; nothing if it finds nothing. Its exit code is 0 also after warnings."""
    done = subprocess.run(
        [
            require("systemd-analyze"),
            "verify",
            f"--root={root}",
            "--man=no",
            *(f"/etc/systemd/system/{name}" for name in (SERVICE, TIMER, FAILURE)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    # What it reports about the machine's units is not about these.
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "yotpo-td" in line]
    assert lines or done.returncode == 0, done.stderr
    return "\n".join(lines)


def exposure(unit: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [require("systemd-analyze"), "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def test_every_unit_is_tested():
    assert {path.name for path in UNITS.iterdir()} == {SERVICE, TIMER, FAILURE}


def test_systemd_finds_no_fault(root):
    assert verify(root) == ""


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (SERVICE, "Restart=on-failure", "Restart=on-fail"),
        (SERVICE, "MemoryMax=128M", "MemoryMaximum=128M"),
        (SERVICE, "ExecStart=/bin/sh", "ExecStart=/bin/shell"),
        (SERVICE, "SystemCallFilter=@system-service", "SystemCallFilter=@system-services"),
        (TIMER, "OnCalendar=*-*-* 04:00:00", "OnCalendar=daily 04:00"),
        (FAILURE, "Type=oneshot", "Type=once"),
    ],
)
def test_systemd_finds_mistakes(root, name, old, new):
    path = root / "etc/systemd/system" / name
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    assert verify(root) != ""


def test_the_service_is_hardened(root):
    done = exposure(UNITS / SERVICE)
    assert done.returncode == 0, done.stdout + done.stderr
    # The check fails without the settings that it is about.
    path = root / "etc/systemd/system" / SERVICE
    path.write_text(re.sub(r"^(PrivateUsers|CapabilityBoundingSet|ProtectSystem)=.*\n", "", path.read_text(), flags=re.MULTILINE))
    assert exposure(path).returncode != 0


def setting(name: str) -> str:
    (found,) = re.findall(rf"^{name}=(.*)$", (UNITS / SERVICE).read_text(), re.MULTILINE)
    return found


def seconds(span: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|min|h)", span).groups()
    return int(number) * {"s": 1, "min": 60, "h": 3600}[unit]


def test_attempts_end_and_do_not_block_the_next_day():
    starts = int(setting("StartLimitBurst"))
    together = starts * seconds(setting("TimeoutStartSec")) + (starts - 1) * seconds(setting("RestartSec"))
    assert together < seconds(setting("StartLimitIntervalSec")) < 24 * 3600
    # Eight seconds for what is in flight, and some for the rest.
    assert seconds(setting("TimeoutStopSec")) > 15


# systemd itself.

# Replaces what this machine would start, and runs the commands of the test.
TEST_UNITS = {
    "sysinit.target": "[Unit]\nDefaultDependencies=no\n",
    "test.target": "[Unit]\nDefaultDependencies=no\nRequires=test.service\n",
    "test.service": """\
[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service

[Service]
Type=oneshot
ExecStart=/bin/bash /output/commands
StandardOutput=append:/output/log
StandardError=append:/output/log
ExecStopPost=/usr/bin/systemctl --force --force poweroff
""",
}
COMMANDS = """\
# start NAME RESULT [COMMAND]
start() {
    sh -c "${3:-systemctl start yotpo-td@$1.service}"
    echo $? >"/output/$2.status"
    # Newer versions show "failed" for a moment before a restart.
    final=0
    for _ in $(seq 300); do
        case $(systemctl show --property=ActiveState --value "yotpo-td@$1.service") in
        inactive | failed) final=$((final + 1)) ;;
        *) final=0 ;;
        esac
        [ "$final" -lt 4 ] || break
        sleep 0.1
    done
    # The mail of OnFailure=.
    while [ "$(systemctl show --property=ActiveState --value "yotpo-td-failure@$1.service")" = activating ]; do sleep 0.1; done
    journalctl --sync
    systemctl show --property=Result,ExecMainStatus,NRestarts "yotpo-td@$1.service" >"/output/$2.state"
}
start shop_us success
start shop_us again
journalctl --unit=yotpo-td@shop_us.service --output=cat --no-pager >/output/shop_us.journal
start wrong wrong
start outage outage
journalctl --unit=yotpo-td@outage.service --output=cat --no-pager >/output/outage.journal
cp /etc/yotpo-td/shop_us.toml /etc/yotpo-td/outage.toml
# As the mail says.
start outage repaired "$(cat $(grep -l 'yotpo-td@outage.service failed' /output/mail.*) | tail -n 1)"
systemctl start yotpo-td@shop_us.timer
systemctl show --property=NextElapseUSecRealtime --value yotpo-td@shop_us.timer >/output/timer
ls -ld /var/lib/private/yotpo-td/shop_us /var/lib/private/yotpo-td/shop_us/* >/output/files
# A copy of the service's view: may it read the secrets where they are stored, and write anywhere?
mkdir /etc/systemd/system/yotpo-td@shop_us.service.d
printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c "cat /etc/yotpo-td/*.client-secret; touch /etc/somebody /usr/somebody /home/somebody; kill -0 1; id -u"\\n' \
    >/etc/systemd/system/yotpo-td@shop_us.service.d/probe.conf
systemctl daemon-reload
start shop_us probe
journalctl --unit=yotpo-td@shop_us.service --output=cat --no-pager --lines=20 >/output/probe.journal
"""
SENDMAIL = "#!/bin/sh\ncat >/output/mail.$$\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    running = Sandbox(tmp_path_factory.mktemp("sandbox"), CUSTOMERS, seed=41)
    with tdclient.Client(apikey=running["TD_API_KEY"], endpoint=running["TD_API_SERVER"]) as client:
        client.create_database(DATABASE)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def output(store, tmp_path_factory):
    """What the commands wrote, run by systemd as the first process of a private view of this machine's files."""
    require("systemd-analyze")
    systemd = Path("/usr/lib/systemd/systemd")
    if not systemd.exists():
        systemd = Path("/lib/systemd/systemd")
    files = tmp_path_factory.mktemp("root")
    units = files / "etc/systemd/system"
    shutil.copytree(UNITS, units)
    for name, text in TEST_UNITS.items():
        (units / name).write_text(text)
    # Sooner than in ten minutes.
    (units / f"{SERVICE}.d").mkdir()
    (units / f"{SERVICE}.d" / "test.conf").write_text("[Service]\nRestartSec=100ms\n")
    (files / "usr/sbin").mkdir(parents=True)
    (files / "usr/sbin/sendmail").write_text(SENDMAIL)
    (files / "usr/sbin/sendmail").chmod(0o755)
    settings = files / "etc/yotpo-td"
    write_store(settings, "shop_us", store)
    write_store(settings, "wrong", store, client_secret="wrong")
    write_store(settings, "outage", store, yotpo_endpoint=dead_address())
    (files / "output").mkdir()
    (files / "output/commands").write_text(COMMANDS)
    done = run_privately(files, str(systemd), "--system", "--unit=test.target", "--show-status=0", "--log-target=journal")
    found = files / "output"
    if not (found / "log").exists():
        pytest.skip(f"systemd does not start here: {done.stderr}")
    assert (found / "probe.journal").exists(), (found / "log").read_text() + done.stderr
    return found


def state(output: Path, name: str) -> tuple[str, str, str, str]:
    found = dict(line.split("=", 1) for line in (output / f"{name}.state").read_text().splitlines())
    return (output / f"{name}.status").read_text().strip(), found["Result"], found["ExecMainStatus"], found["NRestarts"]


def test_the_service_loads_once_a_day(output, store):
    assert state(output, "success") == ("0", "success", "0", "0")
    assert state(output, "again") == ("0", "success", "0", "0")
    assert_loaded_once(store, "yotpo_customers_shop_us", store["YOTPO_STORE_ID"])
    journal = (output / "shop_us.journal").read_text()
    assert journal.count("INFO the new rows replaced the old table=yotpo_customers_shop_us") == 1
    assert journal.count("WARN this run id was loaded before, so nothing was loaded now") == 1
    assert "\x1b" not in journal
    assert_nothing_secret(journal, store)


def test_the_state_is_private(output):
    directory, *files = (output / "files").read_text().splitlines()
    assert directory.startswith("drwx------") and files
    assert all(line.startswith("-rw-------") for line in files)


def test_the_timer_is_due(output):
    assert re.search(r" 04:(0\d|1[0-5]):\d\d ", (output / "timer").read_text())


def test_the_service_can_neither_read_the_stored_secrets_nor_write_to_the_machine(output, store):
    journal = (output / "probe.journal").read_text()
    for name in ("shop_us", "wrong", "outage"):
        assert f"/etc/yotpo-td/{name}.client-secret: Permission denied" in journal, journal
    assert len(re.findall(r"cannot touch '/(etc|usr|home)/somebody'", journal)) == 3, journal
    assert_nothing_secret(journal, store)


def mails(output: Path, name: str) -> list[str]:
    found = [path.read_text() for path in sorted(output.glob("mail.*"))]
    return [re.sub(r" failed on \S+$", " failed on shop-loader", text, count=1, flags=re.MULTILINE) for text in found if f"yotpo-td@{name}.service" in text]


def without_systemd(text: str) -> list[str]:
    """Without the lines of systemd, which differ from version to version."""
    return [line for line in text.splitlines() if not re.match(r"(Starting |Stopped |Failed to start |yotpo-td@)", line)]


def test_wrong_credentials_are_not_retried_and_the_mail_is_that_of_the_page(output, store):
    assert state(output, "wrong") == ("1", "exit-code", "3", "0")
    (mail,) = mails(output, "wrong")
    shown = block("systemd.md", "text", "To: ")
    assert without_systemd(masked(mail).replace("wrong", "shop_us")) == without_systemd(shown)
    assert_nothing_secret(mail, store)


def test_an_outage_is_retried_and_reported(output, store):
    status, _, exit_code, _ = state(output, "outage")
    assert (status, exit_code) == ("1", "4")
    assert (output / "outage.journal").read_text().count("code: yotpo_token_failed") == 3
    last = mails(output, "outage")[-1]
    assert "code: yotpo_token_failed (exit code 4" in last and "\nsaved: " in last
    assert_nothing_secret(last, store)


def test_the_run_can_be_started_again(output, store):
    assert state(output, "repaired")[:3] == ("0", "success", "0")
