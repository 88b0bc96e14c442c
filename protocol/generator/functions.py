# SPDX-License-Identifier: MIT
"""Every function of libcuda with its class, from the call description and interop/symbols."""
from generator import description

CLASSES = ("local", "sync", "async", "refused")


class Function:
    def __init__(self, name, symbols):
        self.name, self.symbols = name, symbols
        self.kind = self.reason = self.error = None


def read_functions(path):
    """The functions that interop/symbols lists, by name, with all their symbols."""
    functions = {}
    with open(path, encoding="utf-8") as source:
        for line in source:
            if not line.startswith("#"):
                symbol, name = line.split()[:2]
                functions.setdefault(name, Function(name, [])).symbols.append(symbol)
    return functions


def classify(functions, calls, families):
    """Gives the functions their classes. What is said of a function by hand counts for more than
    that a call has its name."""
    for call in calls:
        names = [call.name]
        if call.entry == "entry-stream":
            names.append(call.name.removesuffix("Async"))
        for name in names:
            if name in functions:
                functions[name].kind = call.kind
    said = set()
    for family in families:
        for name in family.names:
            if name not in functions:
                description.fail(f"'{name}' is no function of libcuda")
            if name in said:
                description.fail(f"'{name}' has two classes")
            said.add(name)
            function = functions[name]
            function.kind, function.error, function.reason = (family.kind, family.error,
                                                              family.reason)


def read(directory, symbols):
    functions = read_functions(symbols)
    classify(functions, description.read_calls(directory), description.read_families(directory))
    return functions
