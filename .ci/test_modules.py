"""Which modules of src are compiled for tests only: those of `#[cfg(test)] mod name;`, and what is inside them."""

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"
FOR_TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))? )?mod (\w+);")


def module_of(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "mod" else parts


def for_tests(texts: dict[tuple[str, ...], str]) -> set[tuple[str, ...]]:
    """The modules among these, by their source, that only tests need."""
    parent = {("lib",): ()}
    declared = {(*parent.get(module, module), name) for module, text in texts.items() for name in FOR_TESTS.findall(text)}
    return {module for module in texts if any(module[: len(other)] == other for other in declared)}


def files_for_tests() -> set[str]:
    """The files of these modules, such as src/run/fixture.rs."""
    paths = {module_of(path): path for path in sorted(SOURCE.rglob("*.rs"))}
    found = for_tests({module: path.read_text() for module, path in paths.items()})
    return {str(paths[module].relative_to(SOURCE.parent)) for module in found}
