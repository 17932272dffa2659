"""Digdag's workflow files, read as Digdag reads them, as far as examples/digdag uses it.

`load` parses a file, `check` asserts its structure, `Task.evaluate` replaces variables, and `Task.run_shell` runs an `sh>` command
as the operator does. Digdag itself is not available here; `make digdag` runs the same files with it. The rules come from Digdag's
documentation and from measurements with version 0.10.5.1.
"""

import dataclasses
import datetime
import json
import re
import subprocess
from pathlib import Path

import yaml

# https://docs.digdag.io/workflow_definition.html#using-variables
BUILT_IN = frozenset(
    "timezone session_uuid session_time session_date session_date_compact session_local_time session_tz_offset session_unixtime".split()
)
# Each operator that the examples use, with its options.
OPERATORS = {
    "sh": set(),
    "py": {"docker", "run_id"},
    "for_each": {"_do", "_parallel"},
    "if": {"_do", "_else_do"},
    "fail": set(),
    "mail": {"subject", "from", "to"},
}
DIRECTIVES = {"_env", "_retry", "_error", "_export"}
ROOT_KEYS = {"timezone", "schedule", "_export", "_error"}
# Digdag leaves ${secret:…} to the operator, and evaluates the first expression inside it.
EXPRESSION = re.compile(r"\$\{(?![a-z]+:)([\s\S]+?)\}")
SECRET = re.compile(r"\$\{secret:([\s\S]+?)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
PLAIN_EXPRESSION = re.compile(r"(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?P<comparison> != 0)?")


class Loader(yaml.SafeLoader):
    """YAML without what Digdag and other parsers read differently."""


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", node.start_mark)
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


def _ambiguous(_: Loader, node: yaml.ScalarNode):
    raise yaml.constructor.ConstructorError(None, None, f"quote {node.value}: parsers differ", node.start_mark)


def _integer(loader: Loader, node: yaml.ScalarNode) -> int:
    # 04:00 and 010 are numbers in YAML 1.1.
    return int(node.value) if re.fullmatch(r"0|[1-9]\d*", node.value) else _ambiguous(loader, node)


def _boolean(loader: Loader, node: yaml.ScalarNode) -> bool:
    return node.value == "true" if node.value in ("true", "false") else _ambiguous(loader, node)


# Everything else, such as !include, has no constructor and is an error.
Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
Loader.add_constructor("tag:yaml.org,2002:int", _integer)
Loader.add_constructor("tag:yaml.org,2002:bool", _boolean)
for _type in ("float", "timestamp", "null", "binary", "set", "omap", "pairs", "merge"):
    Loader.add_constructor(f"tag:yaml.org,2002:{_type}", _ambiguous)


def load(text: str) -> dict:
    return yaml.load(text, Loader)  # noqa: S506 - a safe loader


@dataclasses.dataclass
class Task:
    """A task with an operator, and what is in scope there."""

    name: str
    config: dict
    # Exported parameters and those that an enclosing for_each> adds, by name; a list for the latter.
    exports: dict
    loops: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    in_error: bool = False

    @property
    def operator(self) -> str:
        (key,) = operators(self.config)
        return key.removesuffix(">")

    @property
    def command(self):
        return self.config[self.operator + ">"]

    def secrets(self) -> set[str]:
        """The names of its secrets, one of each loop value."""
        found = set()
        for values in loop_values(self.loops):
            for value in self.config.get("_env", {}).values():
                found.update(SECRET.findall(evaluate(value, {**self.exports, **values})))
        return found

    def run_shell(self, project: Path, parameters: dict, secrets: dict[str, str], agent: dict[str, str]):
        """Runs `sh>`: the environment is the agent's, then every parameter with a plain name, then `_env`."""
        scope = {**self.exports, **parameters}
        script = evaluate(self.command, scope)
        environment = dict(agent)
        for name, value in scope.items():
            if NAME.fullmatch(name):
                environment[name] = value if isinstance(value, str) else json.dumps(value)
        environment.update(self.environment(scope, secrets))
        (project / "runner.sh").write_text(script)
        # stdin is a pipe that nobody closes before the end.
        with subprocess.Popen(
            ["/bin/sh", "runner.sh"],
            cwd=project,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            output = process.stdout.read()
            return process.wait(), output

    def environment(self, scope: dict, secrets: dict[str, str]) -> dict[str, str]:
        return {
            name: SECRET.sub(lambda found: secrets[found[1]], evaluate(value, scope))
            for name, value in self.config.get("_env", {}).items()
        }


def operators(config: dict) -> list[str]:
    return [key for key in config if key.endswith(">")]


def loop_values(loops: dict[str, list[str]]) -> list[dict[str, str]]:
    values = [{}]
    for name, choices in loops.items():
        values = [{**value, name: choice} for value in values for choice in choices]
    return values


def evaluate(value, scope: dict):
    """Replaces variables in a text, or in all texts of an object or list."""
    if isinstance(value, dict):
        return {key: evaluate(inner, scope) for key, inner in value.items()}
    if isinstance(value, list):
        return [evaluate(inner, scope) for inner in value]
    return EXPRESSION.sub(lambda found: _expression(found[1], scope), value) if isinstance(value, str) else value


def _expression(text: str, scope: dict) -> str:
    found = PLAIN_EXPRESSION.fullmatch(text)
    assert found, f"the test cannot evaluate ${{{text}}}"
    first, *rest = found["path"].split(".")
    value = scope[first]
    for name in rest:
        value = value.get(name)
    if found["comparison"]:
        return json.dumps(value != 0)
    # As in Digdag: nothing for null, JSON for everything but text.
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def tasks(workflow: dict) -> list[Task]:
    """All tasks with an operator, also those in _do, _else_do and _error."""
    found = []

    def visit(name: str, config: dict, exports: dict, loops: dict, in_error: bool) -> None:
        exports = {**exports, **config.get("_export", {})}
        if operators(config):
            found.append(Task(name, config, exports, loops, in_error))
        if "for_each>" in config:
            loops = {**loops, **config["for_each>"]}
        for key, value in config.items():
            if key in ("_do", "_else_do", "_error"):
                visit(f"{name}^{key}", value, exports, loops, in_error or key == "_error")
            elif key.startswith("+"):
                visit(name + key, value, exports, loops, in_error)

    visit("", workflow, {}, {}, False)
    return found


def task(workflow: dict, name: str) -> Task:
    (only,) = [one for one in tasks(workflow) if one.name == name]
    return only


def check(workflow: dict, stored: set[str]) -> None:
    """Asserts the structure. `stored` are the parameters that tasks store for later ones."""
    for key in workflow:
        assert key in ROOT_KEYS or key.startswith("+"), f"{key} is not a key of a workflow"
    _check_group("", workflow, ROOT_KEYS)
    for one in tasks(workflow):
        assert isinstance(one.config[one.operator + ">"], (str, dict)), one.name
        _check_secrets(one)
        known = {*BUILT_IN, *one.exports, *one.loops, *stored, *(["error"] if one.in_error else [])}
        options = {key: value for key, value in one.config.items() if key not in ("_do", "_else_do", "_error")}
        for text in _texts(options):
            for expression in EXPRESSION.findall(text):
                found = PLAIN_EXPRESSION.fullmatch(expression)
                assert found, f"{one.name}: ${{{expression}}} is not a plain name"
                assert found["path"].split(".")[0] in known, f"{one.name}: ${{{expression}}} is unknown"
    # ${…} is evaluated when a task runs: an export would pass it on as text.
    for config in [workflow, *(one.config for one in tasks(workflow))]:
        assert not any("${" in text for text in _texts(config.get("_export", {})))


def _check_group(name: str, config: dict, allowed: set[str]) -> None:
    for key, value in config.items():
        if key.startswith("+"):
            _check_task(name + key, value)
        else:
            assert key in allowed, f"{name}: {key} is not allowed here"
    if "_error" in config:
        _check_task(f"{name}^_error", config["_error"])


def _check_task(name: str, config: dict) -> None:
    assert isinstance(config, dict), f"{name} is not a task"
    found = operators(config)
    if not found:
        # A group.
        assert any(key.startswith("+") for key in config), f"{name} has no operator"
        _check_group(name, config, {"_parallel", "_export"})
        return
    assert len(found) == 1, f"{name} has several operators: {found}"
    operator = found[0].removesuffix(">")
    assert operator in OPERATORS, f"{name}: unknown operator {operator}>"
    unknown = set(config) - {found[0]} - OPERATORS[operator] - DIRECTIVES
    assert not unknown, f"{name}: {unknown} are not options of {operator}>"
    for key in ("_do", "_else_do", "_error"):
        if key in config:
            _check_task(f"{name}^{key}", config[key])
    retry = config.get("_retry", {"limit": 1})
    assert set(retry) <= {"limit", "interval", "interval_type"} and 0 < retry["limit"] < 10, name
    assert retry.get("interval_type", "constant") in ("constant", "exponential"), name


def _check_secrets(one: Task) -> None:
    for key, value in one.config.items():
        if key in ("_do", "_else_do", "_error"):
            continue
        for text in _texts(value):
            if key == "_env":
                assert re.fullmatch(r"\$\{secret:[a-z_.]+(\$\{[a-z_]+\})?[a-z_.]+\}", text), f"{one.name}: {text}"
            else:
                assert "secret:" not in text, f"{one.name}: a secret outside of _env"
    for name in one.config.get("_env", {}):
        assert NAME.fullmatch(name), name


def _texts(value) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in _texts(inner)]
    return [value] if isinstance(value, str) else []


def session(time: datetime.datetime, zone: str) -> dict[str, str]:
    """The built-in variables of a session."""
    offset = time.strftime("%z")
    return {
        "timezone": zone,
        "session_uuid": "414a8b9e-b365-4394-916a-f0ed9987bd2b",
        "session_time": time.isoformat(),
        "session_date": time.strftime("%Y-%m-%d"),
        "session_date_compact": time.strftime("%Y%m%d"),
        "session_local_time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "session_tz_offset": offset,
        "session_unixtime": str(int(time.timestamp())),
    }
