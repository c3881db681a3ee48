# IPython's own syntax inside cells.

# %%
%time x = sum(range(1000))
x

# %%
%%time
y = [i for i in range(5)]
print("timed", y)

# %%
!echo hello from the shell

# %%
name = "variable"
words = !printf 'one\ntwo $name\n{x + 1}\n'
words, len(words), words.s

# %%
!echo $name {x * 2} $$HOME_IS_NOT_SET

# %%
!exit 3

# %%
_exit_code

# %%
%%bash
echo "from bash" 
echo "to stderr" >&2

# %%
%%capture caught
print("hidden")
print("also hidden")

# %%
caught.stdout

# %%
%%writefile written.txt
line one
line two

# %%
print(open("written.txt").read())

# %%
files = %sx ls written.txt
files

# %%
%precision 3
3.14159265

# %% same side
%precision %r
3.14159265

# %%
def documented():
    """Says what it does."""


documented?

# %%
%%time
def timed_function():
    return "defined under a cell magic"

# %%
timed_function()

# %%
value = %time 6 * 7
value

# %%
%env CELLFERRY_TEST_SETTING=on

# %% same side
import os

os.environ["CELLFERRY_TEST_SETTING"]

# %%
for i in range(2):
    !echo turn {i}

# %%
if x:
    listing = !echo nested
    %time z = len(listing)
z, listing

# %%
%%python3
print("another interpreter")

# %%
%%script bash --out result
echo kept

# %%
result

# %%
%%html
<b>bold</b>

# %%
%%markdown
*slanted*

# %%
_, __ = "taken", "too"
del _, __
5

# %%
_ + 1

# %%
_

# %%
%%timeit -n1 -r1 -q
sum(range(3))

# %%
%pwd
None

# %%
get_ipython().run_line_magic("time", "w = 1 + 1")
get_ipython().system("echo by hand")
w
