# Values changed in place by a cell that never assigns to them.

# %%
numbers = [3, 1, 2]
table = {"a": 1, "b": {"deep": [1, 2]}}
letters = {"x", "y"}
raw = bytearray(b"abc")
text = "unchanged"

# %%
numbers.append(10)
numbers.sort(reverse=True)
table["b"]["deep"].append(3)
table["c"] = table.pop("a")
letters.add("z")
letters.discard("x")
raw[0] = ord("A")
raw.extend(b"!")

# %%
print(numbers, table, sorted(letters), raw, text)

# %%
def fill(target, upto=3, *, into=table):
    for i in range(upto):
        target.append(i)
    into["filled"] = len(target)
    return target


result = fill(numbers)
result is numbers

# %%
numbers += [100]
numbers *= 2
numbers[1:3] = []
del numbers[0]
numbers[::2]

# %%
from collections import Counter, OrderedDict, defaultdict, deque
import array

counts = Counter("mississippi")
groups = defaultdict(list)
recent = deque([1, 2, 3], maxlen=3)
ordered = OrderedDict(one=1, two=2)
packed = array.array("d", [1.0, 2.0])

# %%
counts.update("miss")
groups["new"].append(1)
groups["untouched"]
recent.append(4)
recent.rotate(1)
ordered.move_to_end("one")
packed.append(3.5)
packed[0] = -1.0
counts.most_common(2), dict(groups), recent, ordered, packed

# %%
class Account:
    """Changed by its own methods."""

    fee = 1

    def __init__(self, owner):
        self.owner, self.balance, self.history = owner, 0, []

    def pay(self, amount):
        self.balance += amount - self.fee
        self.history.append((amount, self.fee))
        return self


account = Account("ann")
same_account = account

# %%
account.pay(10).pay(20)
account.note = "set from outside"
Account.fee = 2

# %%
account.pay(30)
print(same_account.balance, same_account.history, same_account.note, Account.fee, same_account is account)

# %%
def remember(value, seen=[]):
    seen.append(value)
    return seen


first = remember(1)
remember(2)

# %%
print(remember(3), first, remember.__defaults__[0] is first)
remember.calls = 3
fill.__defaults__ = (1,)

# %%
remember(4)
fill([]), remember.calls, table["filled"]

# %%
# Replaced by a value that is equal but another object: the alias keeps the old one.
old = numbers
numbers = list(numbers)
numbers.append("new")
numbers is old, len(numbers) - len(old)

# %%
# Cleared and filled again to the same content: nothing changed for anyone.
snapshot = list(old)
old.clear()
old.extend(snapshot)
old == snapshot, numbers[-1]
