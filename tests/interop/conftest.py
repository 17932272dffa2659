"""One sandbox for all tests that only need the Treasure Data side; every test uses its own tables."""

import os

import pytest
import tdclient
from sandbox import FOREIGN_VARIABLES, Sandbox


@pytest.fixture(scope="session", autouse=True)
def no_foreign_settings():
    """The clients read proxies, keys and endpoints from the environment."""
    for name in list(os.environ):
        if FOREIGN_VARIABLES.fullmatch(name) and name != "YOTPO_TD_BIN":
            del os.environ[name]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    running = Sandbox(tmp_path_factory.mktemp("sandbox"), customers=10)
    yield running
    running.stop()


@pytest.fixture
def client(sandbox):
    with tdclient.Client(apikey=sandbox["TD_API_KEY"], endpoint=sandbox["TD_API_SERVER"]) as connected:
        yield connected


@pytest.fixture
def database(sandbox):
    return sandbox["TD_DATABASE"]
