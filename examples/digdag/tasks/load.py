"""Runs yotpo-td from a py> task: for hosted Treasure Workflow, which has no sh>. See hosted.dig.

Credentials reach the program through `_env` only. They are neither on a command line nor in a parameter, so they are not in a log.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import digdag

# What later tasks can read as `yotpo_td`: fields of the JSON summary (docs/summary.md).
STORED_FIELDS = (
    "outcome",
    "exit_code",
    "code",
    "run_id",
    "database",
    "table",
    "joined",
    "rows",
    "ingestion_time",
    "customers",
    "ended_by",
    "duration_seconds",
)
CREDENTIALS = ("YOTPO_CLIENT_SECRET", "YOTPO_STORE_ID", "TD_API_KEY")
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class LoadFailed(Exception):
    """The load failed, and another attempt may succeed."""


def run(database, table, run_id, wheel):
    """The task. Digdag passes parameters by name."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = install(wheel, directory / "program") if wheel else find_program()
        summary_file = directory / "summary.json"
        command = [
            program,
            "sync",
            f"--database={database}",
            f"--table={table}",
            "--mode=replace",
            f"--run-id={run_id}",
        ]
        # Variables do not become part of the command that the program suggests after a failure.
        settings = {
            "YOTPO_TD_STATE_DIR": str(directory / "state"),
            "YOTPO_TD_SUMMARY": "none",
            "YOTPO_TD_SUMMARY_FILE": str(summary_file),
        }
        exit_code, last_line = run_program(command, {**os.environ, **settings})
        summary = read_summary(summary_file)
    # A retry would not help: store the result for the next task, which fails without one. Without a summary nobody knows.
    if exit_code != 0 and summary.get("retryable") is not False:
        raise LoadFailed(f"yotpo-td failed with exit code {exit_code}: {last_line}")
    summary["exit_code"] = exit_code
    digdag.env.store({"yotpo_td": {field: summary[field] for field in STORED_FIELDS if summary.get(field) is not None}})


def install(wheel, directory):
    """Installs the wheel from the project, without a package index, and returns the path of the program."""
    environment = {name: value for name, value in os.environ.items() if name not in CREDENTIALS}
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(directory), wheel], env=environment, check=True)
    return str(directory / "bin" / "yotpo-td")


def find_program():
    program = shutil.which("yotpo-td")
    if program is None:
        raise FileNotFoundError("the parameter wheel is empty, and yotpo-td is not on PATH")
    return program


def run_program(command, environment):
    """Runs the program and prints each of its lines as it comes. Returns its exit code and its last line."""
    last_line = ""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # One stream, in which no line overtakes another.
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Ctrl-C reaches only this process, which passes it on: a second signal would end the program at once.
        start_new_session=True,
    )
    # The program stops at the first signal, saves what it has, and exits by itself.
    previous = {number: signal.signal(number, lambda caught, _: process.send_signal(caught)) for number in STOP_SIGNALS}
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            last_line = line.strip() or last_line
        exit_code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    # A process that was killed has the exit code that a shell reports.
    return (exit_code if exit_code >= 0 else 128 - exit_code), last_line


def read_summary(path):
    """The summary; empty if the program was killed before it could write one."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
