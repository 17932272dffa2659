"""A stand-in of the module that Digdag gives to Python tasks, and of the script that calls them.

    python digdag.py tasks.load.run input.json output.json

calls the function with the parameters of input.json that it has arguments for, and writes what it stored to output.json, unless it
raises an exception. This is what Digdag's runner.py does for functions.
"""

import importlib
import inspect
import json
import sys


class Env:
    def __init__(self, params=None):
        self.params = params or {}
        self.store_params = {}

    def store(self, params):
        self.store_params.update(params)


env = Env()


def main(command, input_file, output_file):
    with open(input_file) as file:
        env.params = json.load(file)["params"]
    sys.modules["digdag"] = sys.modules["__main__"]
    sys.path.append(".")
    module, _, name = command.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    function(**{argument: env.params[argument] for argument in inspect.getfullargspec(function).args})
    with open(output_file, "w") as file:
        json.dump({"store_params": env.store_params}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
