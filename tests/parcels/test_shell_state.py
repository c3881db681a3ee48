"""Two shells that agree: what changes in one is in force in the other, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from cellferry.parcels.loggers import look_logging
from cellferry.parcels.shell_parts import GONE
from cellferry.parcels.shell_state import ShellState, advice

PLAIN = "text/plain"


@pytest.fixture
def shells() -> Iterator[tuple[InteractiveShell, InteractiveShell]]:
    made = [InteractiveShell(config=Config(HistoryManager={"enabled": False})) for _ in range(2)]
    yield made[0], made[1]
    for shell in made:
        shell.restore_sys_module_state()


def test_a_new_shell_has_nothing_to_tell(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    state = ShellState(shells[0])
    others = look_logging()  # other tests of this process may have imported what sets up loggers
    assert state.changed() == others and state.outgoing() == others
    assert ShellState(None).outgoing() == {} and ShellState(None).enter({}) == {}


def test_what_changes_here_is_in_force_there_and_is_told_once(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    one, two = shells
    here, there = ShellState(one), ShellState(two)
    one.ast_node_interactivity = "all"
    one.InteractiveTB.set_mode(mode="Minimal")
    formatters = one.display_formatter.formatters
    formatters[PLAIN].float_precision = "3"
    formatters["text/html"].enabled = False
    formatters[PLAIN].for_type(complex, str.upper)
    formatters["text/html"].for_type_by_name("not.loaded", "Kind", repr)
    one.alias_manager.define_alias("greet", "echo hello")
    one.magics_manager.register_alias("clocked", "time")
    one.input_transformers_post.append(list)
    entries = here.changed()
    assert there.enter(entries) == {}
    here.agree(entries)
    assert here.changed() == {} and there.changed() == {}
    assert two.ast_node_interactivity == "all" and two.InteractiveTB.mode == "Minimal"
    assert two.display_formatter.formatters[PLAIN](3.14159) == "3.142"
    assert not two.display_formatter.formatters["text/html"].enabled
    assert two.display_formatter.formatters[PLAIN].type_printers[complex] is str.upper
    assert two.display_formatter.formatters["text/html"].deferred_printers["not.loaded", "Kind"] is repr
    assert two.alias_manager.retrieve_alias("greet") == "echo hello" and two.find_line_magic("clocked") is not None
    assert list in two.input_transformers_post

    one.alias_manager.undefine_alias("greet")
    one.ast_node_interactivity = "last_expr"
    formatters[PLAIN].pop(complex)
    one.input_transformers_post.remove(list)
    entries = here.changed()
    assert set(map(type, entries.values())) == {type(GONE)}
    there.enter(entries)
    assert not two.alias_manager.is_alias("greet") and two.ast_node_interactivity == "last_expr"
    assert complex not in two.display_formatter.formatters[PLAIN].type_printers and list not in two.input_transformers_post


def test_a_printer_in_the_place_of_ipythons_own_gives_it_back(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    one, two = shells
    here, there = ShellState(one), ShellState(two)
    own = two.display_formatter.formatters[PLAIN].type_printers[int]
    before = one.display_formatter.formatters[PLAIN].for_type(int, hex)
    entries = here.changed()
    there.enter(entries)
    here.agree(entries)
    assert two.display_formatter.formatters[PLAIN].type_printers[int] is hex
    one.display_formatter.formatters[PLAIN].for_type(int, before)
    there.enter(here.changed())
    assert two.display_formatter.formatters[PLAIN].type_printers[int] is own


def test_each_link_finds_the_shell_as_it_agreed(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    shared = shells[1]
    mine, other = ShellState(shared), ShellState(shared)
    mine.enter({("setting", "shell", "ast_node_interactivity"): "all"})
    other.enter({("magic", "line", "theirs"): ("alias", "echo")})
    assert shared.ast_node_interactivity == "last_expr" and shared.find_line_magic("theirs") is not None
    mine.enter({})
    assert shared.ast_node_interactivity == "all" and shared.find_line_magic("theirs") is None
    assert mine.changed() == {}


def test_what_both_sides_set_up_by_themselves_stays(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    state = ShellState(shells[0])
    shells[0].register_magic_function(lambda line: line, "line", "own")
    key = ("magic", "line", "own")
    state.agree_about([key])
    assert key not in state.outgoing()
    state.enter({})
    assert shells[0].find_line_magic("own") is not None


def test_what_cannot_be_put_in_force_is_named(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    state = ShellState(shells[0])
    unable = {("extension", "not_there_at_all"): True, ("setting", "NoSuch", "level"): 3}
    failed = state.enter({**unable, ("magic", "line", "m"): ("alias", "ls")})
    assert set(failed) == set(unable)
    text = advice(failed)
    assert "the extension not_there_at_all" in text and "the setting NoSuch.level" in text and "%%remote everywhere" in text
    assert state.changed() == {} and advice({}) == ""


def test_filters_and_handlers_of_loggers(shells: tuple[InteractiveShell, InteractiveShell]) -> None:
    state = ShellState(shells[0])
    logger, keep = logging.getLogger("a_shop_of_no_package"), logging.Filter("kept")
    logger.addFilter(keep)
    logger.addHandler(logging.StreamHandler())
    logger.handlers[0].addFilter(keep)
    try:
        found = {key: value for key, value in state.changed().items() if key[1] == logger.name}
        assert set(found) == {("handlers", logger.name), ("filters", logger.name, ""), ("filters", logger.name, "0")}
        logger.filters.clear()
        logger.handlers.clear()
        assert state.enter(found) == {}
        assert logger.filters == [keep] and logger.handlers[0].filters == [keep]
    finally:
        logger.filters.clear()
        logger.handlers.clear()
