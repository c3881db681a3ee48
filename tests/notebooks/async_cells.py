# Top-level await, and tasks that outlive their cell.

# %%
import asyncio


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


await double(21)

# %%
y = await double(4)
results = await asyncio.gather(*(double(i) for i in range(4)))
y, results

# %%
async def numbers(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield i


[i async for i in numbers(4)]

# %%
seen = []
async for i in numbers(3):
    seen.append(i)
seen, i

# %%
class Door:
    async def __aenter__(self):
        print("in")
        return self

    async def __aexit__(self, *error):
        print("out")


async with Door() as door:
    print(type(door).__name__)

# %%
async def slowly(gate, log):
    log.append("started")
    await gate.wait()
    log.append("went on")
    return "done"


log = []
gate = asyncio.Event()
task = asyncio.create_task(slowly(gate, log))
await asyncio.sleep(0)
log, task.done()

# %% same side
gate.set()
print(await task, log, task.done())

# %% same side
task.result()

# %%
queue = asyncio.Queue()
for item in range(3):
    queue.put_nowait(item)


async def drain():
    return [queue.get_nowait() for _ in range(queue.qsize())]


print(await drain(), queue.empty())

# %%
async def fails():
    raise RuntimeError("inside a coroutine")


try:
    await fails()
except RuntimeError as error:
    print("caught", error)

# %%
outcome = await asyncio.gather(double(1), fails(), return_exceptions=True)
outcome

# %%
try:
    async with asyncio.timeout(0.01):
        await asyncio.Event().wait()
except TimeoutError:
    print("too late")

# %%
await asyncio.to_thread(sum, [1, 2, 3])

# %%
total = 0


async def add(n):
    global total
    await asyncio.sleep(0)
    total += n


async with asyncio.TaskGroup() as group:
    for n in range(5):
        group.create_task(add(n))
total

# %%
await fails()

# %%
squares = {n: await double(n) for n in range(3)}
[await double(v) for v in squares.values() if await double(v) > 2]
