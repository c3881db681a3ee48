"""``%%remote everywhere``: a cell that runs here and on every worker of the notebook, now and whenever one starts."""

from __future__ import annotations

import pytest

from .conftest import NewUser

pytestmark = pytest.mark.slow


def test_runs_here_and_on_each_worker_now_and_later(new_user: NewUser) -> None:
    user = new_user()
    user.sees("shared = [1]")
    user.sees("%%remote name=first\nshared.append(2)")
    text = user.sees("%%remote everywhere\nimport json\njson.MARK = len(shared)\nshared.append(3)\nprint('said', shared)\nshared")
    assert text == "said [1, 2, 3]\n[1, 2, 3]\n"  # the worker's own output is not shown, its change is its own
    assert user.has("(shared, _ is shared)") == ([1, 2, 3], True)
    assert user.sees("%%remote name=first\nprint(json.MARK, shared)") == "3 [1, 2, 3]\n"  # it was given what there was when it ran there
    assert user.sees("%%remote name=later\nprint(json.MARK)\nshared.append(4)") == "3\n"
    assert user.has("shared") == [1, 2, 3, 4]
    # a kernel that takes another's place is set up again
    name, _told = user.is_told("%%remote name=first\nimport os\nos._exit(3)")
    assert name == "KernelDied"
    assert user.sees("%%remote name=first\nprint(json.MARK)") == "4\n"

    # the cell is run again after an edit, or with the same text: it takes the place of its earlier version
    user.sees("%%everywhere\nimport json\njson.MARK = 'a'")
    user.sees("%%everywhere\nimport json\njson.MARK = 'a'")
    listed = user.sees("%remote everywhere")
    assert listed.count("In[") == 2 and "first" in listed and "later" in listed
    assert user.sees("%%remote name=later\nprint(json.MARK)") == "a\n"
    user.sees("%remote everywhere drop all")
    assert "no cell runs everywhere" in user.sees("%remote everywhere")
    assert user.sees("%%remote name=third\nprint(hasattr(json, 'MARK'))") == "False\n"
    name, told = user.is_told("%remote everywhere drop 1")
    assert name == "BadValue" and "there is none" in told


def test_failures_are_those_of_the_side_that_failed(new_user: NewUser) -> None:
    user = new_user()
    name, _told = user.is_told("%%remote everywhere\n1 / 0")
    assert name == "ZeroDivisionError"
    assert "no cell runs everywhere" in user.sees("%remote everywhere")
    user.sees("%%remote\nimport os\nhere = os.getpid()")
    text = user.sees("%%remote everywhere\nimport os\nprint('before')\nassert os.getpid() != here, 'only there'\nbound = 'here'")
    assert "failed on worker default, and there alone: AssertionError: only there" in text
    assert text.count("before\n") == 2 and "getpid" in text
    assert user.has("bound") == "here"
    assert "default (AssertionError)" in user.sees("%remote everywhere")
    assert user.sees("%%remote\nprint(bound)") == "here\n"  # told once
    name, told = user.is_told("%%remote everywhere timeout=5s\npass")
    assert name == "BadValue" and "stands alone" in told


def test_what_it_sets_up_in_the_shell_stays(new_user: NewUser) -> None:
    user = new_user()
    user.sees("%%remote\npass")
    unable = (
        "import threading\nfrom IPython.core.magic import register_line_magic\nlock = threading.Lock()\n"
        "def guarded(line, lock=lock):\n    with lock:\n        return line.upper()\nregister_line_magic(guarded)\nNone"
    )
    user.sees(unable)
    text = user.sees("%%remote\nprint('runs')")
    assert "not in force on the worker: %guarded" in text and "%%remote everywhere" in text and text.endswith("runs\n")
    assert user.sees("%%remote\nprint('told once')") == "told once\n"
    assert user.sees("%%remote everywhere\n" + unable) == ""
    for _again in range(2):
        assert user.sees("%%remote\n%guarded word") == "'WORD'\n"
    assert user.sees("%guarded word") == "'WORD'\n"
    assert user.sees("%%remote name=other\n%guarded word") == "'WORD'\n"


def test_it_runs_on_a_worker_of_another_notebook_too(new_user: NewUser) -> None:
    one, other = new_user(), new_user()
    one.sees("%%remote name=shared\npass")
    other.sees("%%remote everywhere\nimport json\njson.MARK = 1")
    assert other.sees("%%remote name=shared\nprint(json.MARK)") == "1\n"
