"""What `make mutants` and `make mutants-at-once` have in common: the mutants, the tree that is changed, how it is built, and results."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target/mutants"
RESULTS = ROOT / "tests/mutants.tsv"
SURVIVORS = ROOT / "tests/mutants-survivors.txt"
HEAD = ["module", "source", "date", "mutants", "tried", "caught", "timeout", "unviable", "survived"]
KINDS = HEAD[5:]
BUILD_TIMEOUT = 900
# Messages begin with what was called.
CALLED = f"make {Path(sys.argv[0]).name}"
# Modules inside another one that are a unit for themselves.
NESTED = ["run/decide"]


def module_of(file):
    """The module of a source file: its first directory below src, or its own name."""
    path = file.removeprefix("src/")
    nested = [module for module in NESTED if path.startswith(f"{module}/")]
    return nested[0] if nested else path.split("/")[0].removesuffix(".rs")


def files_of(module):
    """The source files of a module, without those of the modules inside it that are a unit for themselves."""
    found = [ROOT / "src" / f"{module}.rs", *(ROOT / "src" / module).rglob("*.rs")]
    names = sorted(str(path.relative_to(ROOT)) for path in found if path.is_file())
    return [name for name in names if module_of(name) == module]


def source_hash(module):
    """Changes when a source file of the module does."""
    digest = hashlib.sha256()
    for name in files_of(module):
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cargo():
    return os.environ.get("CARGO") or "cargo"


def check_version():
    """The version in .ci/tools.txt is installed: another one finds other mutants, and names them differently."""
    version = re.search(r"^cargo-mutants@(\S+)", (ROOT / ".ci/tools.txt").read_text(), re.MULTILINE)[1]
    install = "'make tools TOOLS=cargo-mutants' installs it"
    if not shutil.which("cargo-mutants"):
        sys.exit(f"{CALLED}: cargo-mutants is missing; {install}")
    found = subprocess.run([cargo(), "mutants", "--version"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()[-1]
    if found != version:
        sys.exit(f"{CALLED}: cargo-mutants is version {found}, and .ci/tools.txt names {version}; {install}")


def mutants(*arguments):
    """What cargo-mutants would change, without the sandbox and what .cargo/mutants.toml explains."""
    check_version()
    command = [cargo(), "mutants", "--list", "--json", "--exclude", "src/sandbox/**", *arguments]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        sys.exit(f"{CALLED}: cargo-mutants could not list the mutants:\n{listed.stderr}")
    # cargo-mutants lists deleted fields whatever is excluded.
    excluded = [re.compile(pattern) for pattern in tomllib.loads((ROOT / ".cargo/mutants.toml").read_text())["exclude_re"]]
    found = json.loads(listed.stdout or "[]")
    return [mutant for mutant in found if not any(pattern.search(mutant["name"]) for pattern in excluded)]


def copy_tree(tree):
    """Copies what is tracked or new, and touches only what differs, so that cargo compiles no more than it must."""
    tree.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    wanted = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
    for path in [path for path in tree.rglob("*") if path.is_file() or path.is_symlink()]:
        if str(path.relative_to(tree)) not in wanted:
            path.unlink()
    for name in wanted:
        source, copy = ROOT / name, tree / name
        if not copy.is_file() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)


def build(tree, targets, log):
    """Builds the test programs of these arguments of `cargo test`; None if that fails. With them is the environment they need."""
    command = [cargo(), "test", "--no-run", "--locked", "--profile", "mutants", "--message-format", "json-render-diagnostics", *targets]
    try:
        built = subprocess.run(command, cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, timeout=BUILD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return None
    if built.returncode:
        return None
    messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith(b"{")]
    programs = [message for message in messages if message["reason"] == "compiler-artifact" and message["executable"]]
    tests = [program["executable"] for program in programs if program["profile"]["test"]]
    others = [program for program in programs if not program["profile"]["test"]]
    return tests, {f"CARGO_BIN_EXE_{program['target']['name']}": program["executable"] for program in others}


def read_results():
    """The recorded results by module."""
    if not RESULTS.is_file():
        return {}
    lines = [line.split("\t") for line in RESULTS.read_text().splitlines() if not line.startswith("#")]
    if not lines or lines[0] != HEAD or any(len(line) != len(HEAD) for line in lines):
        sys.exit(f"{CALLED}: {RESULTS} is damaged: restore it with git")
    return {line[0]: dict(zip(HEAD, line)) for line in lines[1:]}


def write_results(results):
    words = (
        "# Results of `make mutants` and `make mutants-at-once`, which write this. `source` is a hash of the module's files when they were\n"
        "# changed; `make mutants-status` compares it. Samples of the same source are added up, so `tried` may count a mutant more than once.\n"
    )
    lines = [HEAD, *([results[module][column] for column in HEAD] for module in sorted(results))]
    RESULTS.write_text(words + "".join("\t".join(line) + "\n" for line in lines))


def without_place(name):
    """The name of a mutant without line and column, which change with every line above it."""
    return re.sub(r"^(\S+?):\d+:\d+:", r"\1:", name)


def known_survivors():
    """Mutants that still need a test, without their places, each with what is known about it."""
    lines = SURVIVORS.read_text().splitlines() if SURVIVORS.is_file() else []
    return {name: known for line in lines if not line.startswith("#") for name, _, known in [line.partition("\t")]}


def write_survivors(names):
    words = (
        "# Changes of the program that no test notices yet, and what is known about each: `make mutants-at-once RECORD=1` writes them, and\n"
        "# `make mutants ONLY=` this file tries them again. `make mutants-at-once` fails for others only. Write tests when you are near them.\n"
    )
    known = known_survivors()
    lines = [f"{name}\t{known.get(name, 'not examined')}\n" for name in sorted(map(without_place, names))]
    SURVIVORS.write_text(words + "".join(lines))


def record(module, total, kinds, afresh=False):
    """Adds the outcomes of some mutants to the results of the same source; `afresh` forgets these."""
    results = read_results()
    before = results.get(module, {})
    if afresh or before.get("source") != source_hash(module):
        before = {}
    counts = {kind: kinds[kind] + int(before.get(kind, 0)) for kind in KINDS}
    results[module] = {"module": module, "source": source_hash(module), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    results[module] |= {"mutants": str(total), "tried": str(sum(counts.values()))} | {kind: str(count) for kind, count in counts.items()}
    write_results(results)


def status():
    """Prints what is recorded for each module; returns whether a change of today's source survived, or a module is unknown."""
    modules = {module_of(str(path.relative_to(ROOT))) for path in (ROOT / "src").rglob("*.rs")} - {"lib", "sandbox", "captured_log"}
    results = read_results()
    failed = False
    for module in sorted(modules):
        result = results.pop(module, None)
        if result is None:
            print(f"{module:<14} none tried")
            continue
        is_current = result["source"] == source_hash(module)
        state = "of today's source" if is_current else "of an earlier source"
        print(f"{module:<14} {result['tried']} of {result['mutants']} tried on {result['date']}, {result['survived']} survived, {state}")
        failed |= is_current and result["survived"] != "0"
    for module in results:
        print(f"{module:<14} has results, but there is no such module: delete its line from {RESULTS.relative_to(ROOT)}")
        failed = True
    return failed
