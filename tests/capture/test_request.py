"""The words after ``%%remote`` and ``%remote``."""

from __future__ import annotations

import dataclasses
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellferry.capture import request as grammar
from cellferry.capture.quantities import read_duration, read_money, read_size
from cellferry.capture.request import check_supported, later_options, parse_command, parse_request
from cellferry.errors import BadValue, NotYet, RequestError, UnknownOption
from cellferry.model import CellRequest, Hardware

GIB = 1 << 30


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", CellRequest()),
        ("gpu=a100", CellRequest(hardware=Hardware(gpu="a100", gpu_count=1))),
        ("gpu=H100:8", CellRequest(hardware=Hardware(gpu="h100", gpu_count=8))),
        ("gpu=80G", CellRequest(hardware=Hardware(gpu_count=1, gpu_memory_bytes=80 * GIB))),
        ("gpu=40g:2", CellRequest(hardware=Hardware(gpu_count=2, gpu_memory_bytes=40 * GIB))),
        ("gpu=a100-80g", CellRequest(hardware=Hardware(gpu="a100-80g", gpu_count=1))),
        ("cpus=8 memory=32G disk=1.5T",
         CellRequest(hardware=Hardware(cpus=8, memory_bytes=32 * GIB, disk_bytes=1536 * GIB))),
        ("provider=local", CellRequest(providers=("local",))),
        ("provider=aws,local,aws", CellRequest(providers=("aws", "local"))),
        ("region=eu-central-1 host=box spot", CellRequest(region="eu-central-1", host="box", spot=True)),
        ("budget=5", CellRequest(budget_microusd=5_000_000)),
        ("budget=$0.25", CellRequest(budget_microusd=250_000)),
        ("timeout=2h idle=10m", CellRequest(timeout_s=7200.0, idle_s=600.0)),
        ("timeout=1h30m", CellRequest(timeout_s=5400.0)),
        ("timeout=90s", CellRequest(timeout_s=90.0)),
        ("name=train-2", CellRequest(name="train-2")),
        ("nodes=4 launch=torchrun", CellRequest(nodes=4, launch="torchrun")),
        ("files=data/*.csv,x.txt", CellRequest(files=("data/*.csv", "x.txt"))),
        ("files='my data.csv'", CellRequest(files=("my data.csv",))),
        ("'files=my data.csv'", CellRequest(files=("my data.csv",))),
        ("returns=model,loss", CellRequest(returns=("model", "loss"))),
        ("returns=", CellRequest(returns=())),
        ("detach estimate", CellRequest(detach=True, estimate=True)),
        ("estimate  # only looking", CellRequest(estimate=True)),
        ("name=a#b", None),
    ],
)
def test_lines_that_parse(line: str, expected: CellRequest | None) -> None:
    if expected is None:
        with pytest.raises(BadValue, match="a#b"):
            parse_request(line)
        return
    assert parse_request(line) == dataclasses.replace(expected, line=line.strip())


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("gpuu=a100", UnknownOption, "did you mean `gpu`? For example: %%remote gpu=a100"),
        ("memroy=32G", UnknownOption, "did you mean `memory`? For example: %%remote memory=32G"),
        ("--gpu a100", UnknownOption, "did you mean `gpu`?"),
        ("GPU=a100", UnknownOption, "did you mean `gpu`?"),
        ("detatch", UnknownOption, "did you mean `detach`?"),
        ("qqq=1", UnknownOption, "The options are gpu, cpus"),
        ("gpu", BadValue, "needs a value"),
        ("gpu = a100", BadValue, "without blanks around the `=`"),
        ("=5", BadValue, "no key before"),
        ("spot=yes", BadValue, "is a flag"),
        ("gpu=4090", BadValue, "rtx4090"),
        ("gpu=a100:0", BadValue, "at least 1"),
        ("gpu=a100:", BadValue, "at least 1"),
        ("gpu=a!", BadValue, "gpu=a100"),
        ("cpus=two", BadValue, "whole number"),
        ("cpus=-1", BadValue, "whole number"),
        ("memory=32", BadValue, "number with a unit: K, M, G or T"),
        ("memory=1e3G", BadValue, "plain number"),
        ("timeout=5", BadValue, "number with a unit: d, h, m or s"),
        ("timeout=0s", BadValue, "more than zero"),
        ("timeout=5m2h", BadValue, "plain number"),
        ("budget=lots", BadValue, "plain number"),
        ("budget=-5", BadValue, "plain number"),
        ("budget=0.0000001", BadValue, "six decimals"),
        ("provider=awss", BadValue, "did you mean `aws`?"),
        ("launch=mpirun", BadValue, "torchrun"),
        ("name=../x", BadValue, "letters, digits"),
        ("files=a,,b", BadValue, "joined with `,`"),
        ("returns=a-b", BadValue, "`a-b` is not a Python name"),
        ("returns=class", BadValue, "not a Python name"),
        ("gpu=a gpu=b", BadValue, "given twice"),
        ("name='x", BadValue, "quotation mark is not closed"),
    ],
)
def test_lines_that_do_not_parse_say_what_to_type(line: str, error: type[RequestError], says: str) -> None:
    with pytest.raises(error) as caught:
        parse_request(line)
    assert says in str(caught.value)
    assert "%%remote" in caught.value.advice


@pytest.mark.parametrize("option", grammar.OPTIONS.values(), ids=lambda option: option.name)
def test_every_example_parses(option: grammar.Option) -> None:
    parse_request(option.example)
    assert option.meaning


@pytest.mark.parametrize("form", grammar.COMMANDS.values(), ids=lambda form: form.name)
def test_every_command_example_parses(form: grammar.CommandForm) -> None:
    assert parse_command(form.example.removeprefix("%remote")).name == form.name


@pytest.mark.parametrize(
    ("line", "later"),
    [
        ("timeout=2h idle=5m name=x returns=a files=b estimate cpus=2 memory=1G disk=1G provider=local nodes=1", []),
        ("gpu=a100 region=x host=y spot budget=5 meanwhile provider=ssh,aws,demo", []),
        ("provider=slurm", ["provider=slurm"]),
        ("provider=local,sky", ["provider=local,sky"]),
        ("gpu=a100 nodes=2 launch=ray detach", ["nodes=2", "launch=ray"]),
    ],
)
def test_what_later_releases_bring(line: str, later: list[str]) -> None:
    request = parse_request(line)
    assert later_options(request) == later
    if not later:
        check_supported(request)
        return
    with pytest.raises(NotYet) as caught:
        check_supported(request)
    kept = caught.value.advice.partition("%%remote")[2]
    check_supported(parse_request(kept))
    assert all(f"`{word}`" in caught.value.what for word in later)


@pytest.mark.parametrize(
    ("line", "name", "args"),
    [
        ("", "status", ()), ("status", "status", ()), ("down", "down", ()), ("down train", "down", ("train",)),
        ("attach 3", "attach", ("3",)), ("logs", "logs", ()), ("interrupt", "interrupt", ()),
        ("fetch a b", "fetch", ("a", "b")), ("put 'my file'", "put", ("my file",)), ("get x.pt", "get", ("x.pt",)),
        ("env", "env", ()), ("doctor", "doctor", ()), ("cost", "cost", ()),
    ],
)
def test_commands(line: str, name: str, args: tuple[str, ...]) -> None:
    command = parse_command(line)
    assert (command.name, command.args) == (name, args)


def test_commands_with_options() -> None:
    assert parse_command("down --all").flags == {"all"}
    budget = parse_command("budget 20 --per day")
    assert (budget.amount_microusd, dict(budget.options)) == (20_000_000, {"per": "day"})
    assert dict(parse_command("budget --per=month").options) == {"per": "month"}
    assert parse_command("offers gpu=a100").request.hardware.gpu == "a100"
    assert hash(parse_request("gpu=a100")) == hash(parse_request("gpu=a100"))


@pytest.mark.parametrize(
    ("line", "error", "says"),
    [
        ("stauts", UnknownOption, "did you mean `status`?"),
        ("frobnicate", UnknownOption, "The commands are status"),
        ("down --al", UnknownOption, "did you mean `--all`?"),
        ("down a b", BadValue, "one word too many"),
        ("down a --all", BadValue, "one word too many"),
        ("fetch", BadValue, "needs to know which one"),
        ("budget much", BadValue, "cannot be a budget"),
        ("budget 5 --per week", BadValue, "notebook, day, month"),
        ("offers gpuu=a100", UnknownOption, "%remote offers gpu=a100"),
        ("status now", BadValue, "one word too many"),
    ],
)
def test_commands_that_do_not_parse(line: str, error: type[RequestError], says: str) -> None:
    with pytest.raises(error) as caught:
        parse_command(line)
    assert says in str(caught.value)


@given(st.text(max_size=60))
def test_any_line_parses_or_is_a_request_error(line: str) -> None:
    for parse in (parse_request, parse_command):
        try:
            parse(line)
        except RequestError as error:
            assert error.what and error.advice


@given(st.lists(st.sampled_from([o.example for o in grammar.OPTIONS.values() if o.name != "everywhere"]), unique=True))
def test_order_and_quoting_of_words_do_not_matter(words: list[str]) -> None:
    first, second = parse_request(" ".join(words)), parse_request(shlex.join(reversed(words)))
    assert dataclasses.replace(first, line="") == dataclasses.replace(second, line="")


def test_everywhere_stands_alone() -> None:
    assert parse_request("everywhere").everywhere and not parse_request("").everywhere
    with pytest.raises(BadValue, match="stands alone"):
        parse_request("everywhere name=train")


@given(st.integers(1, 10**6), st.sampled_from("KMGT"), st.sampled_from(["", "B", "iB", "b"]))
def test_sizes(number: int, unit: str, suffix: str) -> None:
    assert read_size(f"{number}{unit}{suffix}") == number * 1024 ** ("KMGT".index(unit) + 1)


@given(st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_durations(hours: int, minutes: int, seconds: int) -> None:
    text = "".join(f"{n}{u}" for n, u in ((hours, "h"), (minutes, "m"), (seconds, "s")) if n)
    assert read_duration(text) == hours * 3600 + minutes * 60 + seconds


@given(st.integers(0, 10**12))
def test_money_is_exact(micro: int) -> None:
    assert read_money(f"{micro // 10**6}.{micro % 10**6:06d}") == micro


def test_what_becomes_of_a_cell_whose_notebook_is_gone() -> None:
    assert parse_request("").on_disconnect == "keep"
    assert parse_request("on_disconnect=stop").on_disconnect == "stop"
    with pytest.raises(BadValue, match="keep, stop"):
        parse_request("on_disconnect=halt")
