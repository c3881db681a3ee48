# Random numbers: generators that are values, and the hidden ones of modules.

# %%
import random

rng = random.Random(42)
rng.random(), rng.randint(1, 100)

# %%
rng.random(), rng.sample(range(100), 3)

# %%
import numpy as np

gen = np.random.default_rng(7)
gen.normal(size=3)

# %%
also_gen = gen
gen.integers(0, 100, 5), also_gen.permutation(5)

# %%
also_gen.random(), gen is also_gen

# %%
old = np.random.RandomState(3)
old.rand(2)

# %%
old.rand(2), old.choice(10, 3)

# %%
random.seed(1)
np.random.seed(2)

# %%
random.random(), np.random.rand()

# %%
[random.choice("abc") for _ in range(5)], np.random.randint(0, 10, 4)

# %%
state = random.getstate()
x1 = random.random()

# %%
random.setstate(state)
random.random() == x1

# %%
shuffled = list(range(8))
random.shuffle(shuffled)
shuffled

# %%
np.random.shuffle(shuffled)
shuffled

# %%
from decimal import getcontext
from random import randint, seed
from random import random as draw

import numpy as np
from numpy.random import RandomState, randn
from numpy.random import seed as seed_numpy

context = getcontext()
holders = [np.random.mtrand._rand, RandomState(3)]

# %%
seed(5)
seed_numpy(6)
context.prec = 9
print([randint(0, 99) for _ in range(3)], draw(), randn(2), holders[0].rand(), holders[1].rand())

# %%
import random

print(random.random(), draw(), np.random.rand(), randn(1), holders[0].rand(), holders[1].rand(), getcontext().prec)

# %%
from numpy.random import normal
from random import gauss

random.seed(7)
np.random.seed(8)

# %%
print(gauss(0, 1), normal(), randint(0, 99), randn(1), holders[0].rand(), holders[1].rand())

# %%
print(gauss(0, 1), normal(), randint(0, 99), randn(1), holders[0] is np.random.mtrand._rand, context is getcontext())
