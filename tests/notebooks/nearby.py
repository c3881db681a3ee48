"""A module that lies beside the notebook."""

__all__ = ["THINGS", "Shelf", "greet"]

THINGS = ["from nearby"]
_hidden = "not exported"
count = 0


def greet(name):
    return f"{_hidden and 'hello'} {name}"


def bump():
    global count
    count += 1
    return count


class Shelf:
    def __init__(self, *content):
        self.content = list(content)

    def __eq__(self, other):
        return isinstance(other, Shelf) and self.content == other.content

    def __repr__(self):
        return f"Shelf{self.content}"
