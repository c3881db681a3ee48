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
