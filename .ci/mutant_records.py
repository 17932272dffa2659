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
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target/mutants"
RESULTS = ROOT / "tests/mutants.tsv"
SURVIVORS = ROOT / "tests/mutants-survivors.txt"
HEAD = ["module", "source", "date", "mutants", "tried", "caught", "timeout", "unviable", "survived"]
KINDS = HEAD[5:]
BUILD_TIMEOUT = 900
# What RECORD=1 writes about a new survivor.
NOT_EXAMINED = "not examined"
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


def named(line):
    """The name of a mutant in a line of a list, how many survivors have it (`×2`), and what is known about them."""
    name, _, known = line.partition("\t")
    name, count = re.fullmatch(r"(.*?)(?: ×(\d+))?", name).groups()
    return without_place(name), int(count or 1), known


def known_survivors():
    """Mutants that tests do not notice, without their places: how many of each name, and why. `None` if nobody has examined them."""
    lines = SURVIVORS.read_text().splitlines() if SURVIVORS.is_file() else []
    found = [named(line) for line in lines if not line.startswith("#")]
    if len({name for name, _, _ in found}) != len(found):
        sys.exit(f"{CALLED}: {SURVIVORS.relative_to(ROOT)} has a name twice: write it once, with ×2")
    return {name: (count, None if known in ("", NOT_EXAMINED) else known) for name, count, known in found}


def write_survivors(survivors, tried, everything):
    """Writes the survivors among the mutants that were tried. Lines about others stay."""
    words = (
        "# Changes of the program that the tests of `make mutants-at-once` do not notice, and what is known about each. RECORD=1 writes them;\n"
        "# `make mutants ONLY=` this file tries them again, with all tests. Checks of mutants fail for survivors that are not here, for more\n"
        "# of a name than its ×2 says, and for those that nobody has examined. Write tests when you are near them.\n"
    )
    known = known_survivors()
    survived, tried, everything = counted(survivors), counted(tried), counted(everything)
    lines = []
    for name in sorted({*survived, *known} & everything.keys()):
        count, why = known.get(name, (0, None))
        count = survived[name] if tried[name] == everything[name] else max(survived[name], count)
        if count:
            lines.append(f"{name}{f' ×{count}' if count > 1 else ''}\t{why or NOT_EXAMINED}\n")
    SURVIVORS.write_text(words + "".join(lines))


def counted(names):
    return Counter(map(without_place, names))


def check_survivors(survivors, tried, everything):
    """Compares the survivors among the mutants that were tried with those that are known; ends the program if there are others."""
    known, survived, by_name = known_survivors(), counted(survivors), counted(everything)
    file = SURVIVORS.relative_to(ROOT)
    noticed = [name for name, count in counted(tried).items() if name in known and count == by_name[name] and survived[name] < known[name][0]]
    if noticed:
        print("\n".join([f"{CALLED}: {file} lists more of these than survived: correct it", *sorted(noticed)]), flush=True)
    new = {name for name, count in survived.items() if name not in known or known[name][1] is None or count > known[name][0]}
    if new:
        print(f"{CALLED}: no test noticed these changes. Write a test of the behaviour that changed, or explain in .cargo/mutants.toml why no")
        print(f"test can notice it. What is left for later is explained in {file}:")
        sys.exit("\n".join(name for name in survivors if without_place(name) in new))
    if unknown := sorted(known.keys() - by_name.keys()):
        sys.exit("\n".join([f"{CALLED}: {file} lists what is no mutant of today's source: remove it", *unknown]))
    print(f"{CALLED}: {len(tried)} tried, every viable one was noticed, except for {len(survivors)} that {file} explains")


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
    """Prints what is recorded for each module. Returns whether a survivor of today's source is not explained, or a module is unknown."""
    modules = {module_of(str(path.relative_to(ROOT))) for path in (ROOT / "src").rglob("*.rs")} - {"lib", "sandbox", "captured_log"}
    results, explained, failed = read_results(), Counter(), False
    for name, (count, why) in known_survivors().items():
        if why is None:
            print(f"{name}: {SURVIVORS.relative_to(ROOT)} does not explain it")
            failed = True
        else:
            explained[module_of(name.partition(":")[0])] += count
    for module in sorted(modules):
        result = results.pop(module, None)
        if result is None:
            print(f"{module:<14} none tried")
            continue
        is_current = result["source"] == source_hash(module)
        state = "of today's source" if is_current else "of an earlier source"
        unexplained = max(0, int(result["survived"]) - explained[module]) if is_current else 0
        state += f", {unexplained} not in {SURVIVORS.relative_to(ROOT)}" if unexplained else ""
        print(f"{module:<14} {result['tried']} of {result['mutants']} tried on {result['date']}, {result['survived']} survived, {state}")
        failed |= unexplained > 0
    for module in results:
        print(f"{module:<14} has results, but there is no such module: delete its line from {RESULTS.relative_to(ROOT)}")
        failed = True
    return failed
