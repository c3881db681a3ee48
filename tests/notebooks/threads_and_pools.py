# Work that runs beside the cell.

# %%
import threading

results = []


def work(n):
    results.append(n * n)


threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
del t, threads
sorted(results)

# %%
from concurrent.futures import ThreadPoolExecutor, as_completed


def square(n):
    return n * n


with ThreadPoolExecutor(max_workers=3) as pool:
    futures = [pool.submit(square, n) for n in range(5)]
    total = sum(f.result() for f in as_completed(futures))
del pool, futures
total

# %%
import multiprocessing

with multiprocessing.get_context("fork").Pool(2) as processes:
    squares = processes.map(square, range(6))
del processes
squares

# %%
import queue

tasks = []
q = queue.Queue()
done = threading.Event()


def consume():
    while (item := q.get()) is not None:
        tasks.append(item)
    done.set()


consumer = threading.Thread(target=consume)
consumer.start()
for n in range(3):
    q.put(n)
q.put(None)
consumer.join()
tasks, done.is_set()

# %%
lock = threading.RLock()
count = 0


def add():
    global count
    for _ in range(1000):
        with lock:
            count += 1


workers = [threading.Thread(target=add) for _ in range(3)]
[w.start() for w in workers]
[w.join() for w in workers]
count

# %% same side
with lock:
    count += 1
count

# %%
local = threading.local()
local.value = "main"
found = []
reader = threading.Thread(target=lambda: found.append(hasattr(local, "value")))
reader.start()
reader.join()
found

# %%
def failing():
    raise ValueError("in a thread")


with ThreadPoolExecutor(1) as pool:
    future = pool.submit(failing)
    error = future.exception()
del pool, future
error

# %%
import subprocess
import sys

run = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True)
run.args[0] = "python"
run.stdout.strip(), run.returncode

# %%
import os

pid = os.fork()
if pid == 0:
    os._exit(7)
waited, status = os.waitpid(pid, 0)
del pid, waited
os.waitstatus_to_exitcode(status)
