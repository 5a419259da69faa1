"""Where settings come from, who wins, and what is said about those that are no good."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from understudy_runtime.cli.configuration import configuration, effective
from understudy_runtime.cli.errors import UsageProblem
from understudy_runtime.cli.kinds import Address
from understudy_runtime.cli.main import understudy
from understudy_runtime.cli.settings import Source, dump, foreign, gather, line_of, variable
from understudy_runtime.cli.table import ALIASES, ALL, HOST, NOT_OURS, SERVER
from understudy_runtime.limits import Limits
from understudy_runtime.model.invocation import RetryPolicy

ABORT = "worker.invoker.abort-timeout"


def gathered(rows=SERVER, *, flags=None, environment=None, file=None):
    return gather(rows, flags=flags or {}, environment=environment or {}, file=file)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


def refused(words: list[str], **sources) -> None:
    with pytest.raises(UsageProblem) as problem:
        configuration(effective(gathered(**sources)))
    for word in words:
        assert word in problem.value.message


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path):
    file = written(tmp_path, "[worker.invoker]\nabort-timeout = '1s'\n")
    environment = {variable(ABORT): "2s"}
    assert gathered()[ABORT].value == Limits().abort_timeout_ms
    assert gathered(file=file)[ABORT].value == 1000
    assert gathered(file=file, environment=environment)[ABORT].value == 2000
    found = gathered(file=file, environment=environment, flags={ABORT: "3s"})[ABORT]
    assert (found.value, found.source) == (3000, Source.FLAG)


@pytest.mark.parametrize(
    "text",
    [
        "worker.invoker.abort-timeout = '1s'",
        "[worker]\ninvoker.abort-timeout='1s'",
        "worker={invoker={abort-timeout='1s'}}",
    ],
)
def test_every_way_to_nest(tmp_path, text):
    assert gathered(file=written(tmp_path, text))[ABORT].value == 1000


def test_the_file_is_named_by_line(tmp_path):
    file = written(tmp_path, "# a comment\ncluster-name = 'x'\n[worker.invoker]\nabort-timeout = 7\n")
    refused([f"{file}:4", "7 is no good", ABORT, "a duration"], file=file)


def test_unknown_keys_stop_the_start_and_are_named(tmp_path):
    file = written(tmp_path, "[worker.invoker]\nabort-timeuot = '1s'\n")
    refused([f"{file}:2", "worker.invoker.abort-timeuot", f"did you mean {ABORT}"], file=file)
    refused(["settings.toml:1", "zzz", "is no setting"], file=written(tmp_path, "zzz = 1"))
    refused(["settings.toml:2", "zzz.x", "is no setting"], file=written(tmp_path, "[zzz]\nx = 1"))
    refused(["UNDERSTUDY_ABORT", "is no setting"], environment={"UNDERSTUDY_ABORT": "1s"})
    refused(["did you mean UNDERSTUDY_BASE_DIR"], environment={"UNDERSTUDY_DATA": "x"})


def test_a_table_where_a_value_belongs(tmp_path):
    refused(["settings.toml", "cluster-name"], file=written(tmp_path, "[cluster-name]\nx = 1"))
    refused(["settings.toml:1", "worker"], file=written(tmp_path, "worker = 1"))


@pytest.mark.parametrize("key", NOT_OURS)
def test_keys_of_the_reference_are_refused_with_the_reason(key):
    name = variable(key.rstrip(".-") + (".x" if key.endswith(".") else "-x" if key.endswith("-") else ""))
    refused([name, "is not supported", NOT_OURS[key]], environment={name: "1"})


def test_keys_that_are_refused_are_no_settings():
    assert not {row.key for row in ALL} & set(NOT_OURS)


def test_bad_files(tmp_path):
    refused(["cannot be read"], file=tmp_path / "nowhere.toml")
    refused(["not TOML"], file=written(tmp_path, "= 1"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    refused(["not TOML"], file=tmp_path / "bytes.toml")


def test_bad_values_name_their_place():
    refused(["UNDERSTUDY_BIND_IP", "'a b'", "an address"], environment={"UNDERSTUDY_BIND_IP": "a b"})
    refused(["--cluster-name", "''"], flags={"cluster-name": ""})
    long = gathered_refusal("x " * 100)
    assert len(long) < 200


def gathered_refusal(name: str) -> str:
    with pytest.raises(UsageProblem) as problem:
        gathered(flags={"cluster-name": name})
    return problem.value.message


def test_a_secret_is_not_repeated():
    with pytest.raises(UsageProblem) as problem:
        gathered(environment={"UNDERSTUDY_ADMIN__TOKEN": "hush\n"})
    assert "hush" not in problem.value.message


def test_settings_of_the_other_command_are_let_pass():
    values = gathered(HOST, environment={variable(ABORT): "1s", variable("host.bind-port"): "1"})
    assert ABORT not in values
    assert values["host.bind-port"].value == 1


def test_the_old_place_of_a_key_is_read():
    for alias, key in ALIASES.items():
        assert str(gathered(environment={variable(alias): "a.pem"})[key].value) == "a.pem"


def test_foreign_variables_are_named_in_one_line():
    assert foreign({"PATH": "x"}) == ""
    line = foreign({f"RESTATE_{name}": "1" for name in "ABCDE"})
    assert "RESTATE_A, RESTATE_B, RESTATE_C and 2 more" in line
    assert "\n" not in line


def test_addresses_come_from_who_says_so_with_most_authority(tmp_path):
    def ingress(**sources):
        return configuration(effective(gathered(**sources))).ingress

    both = written(tmp_path, "bind-ip = '127.0.0.9'\ningress.bind-address = '127.0.0.2:1'")
    assert ingress() == Address("127.0.0.1", 8080)
    assert ingress(file=both) == Address("127.0.0.2", 1)
    assert ingress(file=both, flags={"ingress.bind-port": "5"}) == Address("127.0.0.2", 5)
    assert ingress(file=both, flags={"bind-ip": "127.0.0.3"}) == Address("127.0.0.3", 1)
    assert ingress(flags={"ingress.bind-ip": "127.0.0.4"}) == Address("127.0.0.4", 8080)
    twice = {"ingress.bind-port": "5", "ingress.bind-address": "127.0.0.1:6"}
    refused(["--ingress-bind-address", "--ingress-bind-port", "one of them"], flags=twice)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "box.example"])
def test_an_open_admin_wants_a_token(host):
    refused(["--admin-token"], flags={"admin.bind-address": f"{host}:1"})
    flags = {"admin.bind-address": f"{host}:1", "admin.token": "t"}
    assert configuration(effective(gathered(flags=flags))).admin_token == "t"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_a_local_admin_wants_none(host):
    assert configuration(effective(gathered(flags={"admin.bind-address": f"{host}:1"}))).admin_token is None


def test_requests_must_fit_messages():
    message = {"worker.invoker.message-size-limit": "1 MiB"}
    assert configuration(effective(gathered(flags=message))).limits.request_bytes_max == 1 << 20
    refused(["ingress.request-size-limit", "must fit"], flags={**message, "ingress.request-size-limit": "2 MiB"})


def test_intervals_must_not_cross():
    refused(["initial-interval"], flags={"default-retry-policy.max-interval": "1ms"})


def test_without_settings_the_limits_are_their_own():
    assert configuration(effective(gathered())).limits == Limits(retry_policy=RetryPolicy())


def test_what_is_dumped_reads_back_to_the_same(tmp_path):
    flags = {
        "cluster-name": "blue",
        "worker.invoker.disable-eager-state": True,
        "worker.invoker.message-size-limit": "1.5 MiB",
        "default-retry-policy.max-attempts": "unlimited",
        "log-filter": "warn,invoker=debug",
        "allowed-hosts": ("a.example", "b.example"),
        "bind-ip": "127.0.0.2",
        "default-num-partitions": "3",
        "base-dir": 'a "folder"\\',
    }
    values = effective(gathered(flags=flags))
    again = effective(gathered(file=written(tmp_path, dump(SERVER, values))))
    assert {key: found.value for key, found in again.items()} == {key: found.value for key, found in values.items()}
    assert dump(SERVER, again) == dump(SERVER, values)
    assert configuration(again) == configuration(values)


def test_secrets_are_not_dumped():
    flags = {"admin.token": "hush", "worker.invoker.additional-request-headers": '{ x-key = "hush" }'}
    text = dump(SERVER, effective(gathered(flags=flags)))
    assert "hush" not in text
    assert "# token is set" in text


def test_line_of_does_its_best():
    assert line_of("a = 1\n[b.c]\n'd' = 2\n", "b.c.d") == 3
    assert line_of("", "x") == 1


@pytest.mark.parametrize("command", ["serve", "host"])
def test_help_is_readable(command):
    result = CliRunner().invoke(understudy, [command, "--help"], terminal_width=100)
    assert result.exit_code == 0
    rows = SERVER if command == "serve" else HOST
    for row in rows:
        assert row.flag in result.output
        assert row.help
    assert all(len(line) <= 115 for line in result.output.splitlines())


def test_the_command_dumps_and_refuses(monkeypatch, tmp_path):
    monkeypatch.setenv("UNDERSTUDY_CLUSTER_NAME", "green")
    monkeypatch.setenv("RESTATE_CLUSTER_NAME", "red")
    file = written(tmp_path, "cluster-name = 'blue'\nshutdown-timeout = '3s'\n")
    result = CliRunner().invoke(understudy, ["serve", "-c", str(file), "--dump-config", "--ingress-port", "1"])
    assert result.exit_code == 0
    assert 'cluster-name = "green"' in result.stdout
    assert 'shutdown-timeout = "3s"' in result.stdout
    assert 'bind-address = "127.0.0.1:1"' in result.stdout
    assert "RESTATE_CLUSTER_NAME" in result.stderr
    monkeypatch.setenv("UNDERSTUDY_CONFIG", str(tmp_path / "nowhere"))
    result = CliRunner().invoke(understudy, ["serve", "--dump-config"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be read" in result.stderr
    result = CliRunner().invoke(understudy, ["host", "x:y", "--dump-config", "--port", "7", "-c", str(file)])
    assert "bind-port = 7" in result.stdout
