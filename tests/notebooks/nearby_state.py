"""A module with state of every kind, beside the notebook."""

LEVEL = 1
REGISTRY = {}
SETTINGS = {"paths": {"data": "here"}, "steps": [1]}
SEEN = set()


class Model:
    kinds = []
    rate = 1

    def go(self):
        return self.rate


class Options:
    def __init__(self):
        self.debug = False
        self.extra = {}


options = Options()


def level():
    return LEVEL


def set_level(value):
    global LEVEL
    LEVEL = value


def register(function):
    REGISTRY[function.__name__] = function
    return function


def data():
    return SETTINGS["paths"]["data"]


def call():
    call.times = getattr(call, "times", 0) + 1
    return call.times


def _counter():
    count = 0

    def bump():
        nonlocal count
        count += 1
        return count

    return bump


bump = _counter()
