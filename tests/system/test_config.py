"""Configuration as an admin meets it: what each command says of a mistake, and what editors are told."""
import json
import re

import pytest

from conftest import PLUGINS, TOP, posthouse

GOLDEN = TOP / "tests" / "config"
EX_OK, EX_USAGE, EX_CONFIG = 0, 64, 78


def golden(outcome):
    return sorted(f.stem for f in GOLDEN.glob("*.expected") if f.read_bytes().split()[-1] == outcome.encode())


def command(name, file):
    plugins = () if name in ("queue", "reload") else ("--plugin-dir", PLUGINS)
    return posthouse(name, "-c", file, *plugins, check=False, cwd=GOLDEN)


@pytest.mark.parametrize("name", golden("refused"))
def test_every_command_refuses_a_mistake(name):
    """With the same words and the same status, whoever meets it; what is expected of them stands in
    tests/config."""
    expected = (GOLDEN / f"{name}.expected").read_text(errors="surrogateescape").rsplit("refused", 1)[0]
    for c in ("check", "reload", "queue", "plugins", "run"):
        r = command(c, f"{name}.yaml")
        assert r.returncode == EX_CONFIG, (c, r.stderr)
        assert r.stdout == "", c
        if c in ("reload", "queue"):
            assert r.stderr.startswith(expected), (c, r.stderr)
        else:                   # what plugins find stands among it, sorted by place
            for line in expected.splitlines():
                assert line in r.stderr, (c, r.stderr)


@pytest.mark.parametrize("name", golden("accepted"))
def test_check_finds_nothing_in_a_good_file(name):
    r = command("check", f"{name}.yaml")
    wanted = set(re.findall(r"^  - (gate\w*)", (GOLDEN / f"{name}.yaml").read_text(), re.M))
    if wanted:                  # good but for plugins that only the unit tests have
        assert r.returncode == EX_CONFIG and "gate" in r.stderr
        return
    assert r.returncode == EX_OK and r.stderr == "" and re.fullmatch(rf"{name}\.yaml: ok, \d+ plugins?\n", r.stdout)
    assert posthouse("check", "-q", "-c", f"{name}.yaml", "--plugin-dir", PLUGINS, cwd=GOLDEN).stdout == ""


def test_mistakes_in_options_of_plugins(tmp_path):
    f = tmp_path / "posthouse.yaml"
    f.write_text("""\
hostname: relay.example.com
plugins:
  - auth-anonymous
  - relay-access:
      allow: [127.0.0.0/8, 10.0.0.1/8]
  - smarthost:
      host: ["127.0.0.1:2526"]
      connections: many
""")
    r = posthouse("check", "-c", f, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == EX_CONFIG
    places = re.findall(r"^(\S+?):(\d+):(\d+): error: ([\w.-]+):", r.stderr, re.M)
    assert [(int(line), path) for _, line, _, path in places] == [
        (5, "plugins.relay-access.allow"), (7, "plugins.smarthost.host"), (7, "plugins.smarthost"),
        (8, "plugins.smarthost.connections")], r.stderr
    assert "did you mean hosts?" in r.stderr


def test_the_installed_example_is_good():
    import pwd
    r = posthouse("check", "-c", TOP / "config" / "posthouse.yaml", "--plugin-dir", PLUGINS)
    assert r.returncode == EX_OK
    if "posthouse" in [p.pw_name for p in pwd.getpwall()]:
        assert r.stderr == ""
    else:                       # its account is yet to be made
        assert r.stderr.count("warning:") == 1 and 'there is no account "posthouse"' in r.stderr


def test_explain_tells_every_setting():
    text = posthouse("explain").stdout
    for option in ("hostname", "listen", "spool", "workers", "queue", "retry", "delay-notice", "expire", "max-message-size"):
        assert re.search(rf"^\s*{option}: ", text, re.M), option
    assert "Default: 2d, from 1s to 30d." in text
    assert posthouse("explain", "--no-such", check=False).returncode == EX_USAGE


# --- the schema ---

@pytest.fixture(scope="module")
def schema():
    jsonschema = pytest.importorskip("jsonschema")
    text = json.loads(posthouse("explain", "--schema", "--plugin-dir", PLUGINS).stdout)
    jsonschema.Draft202012Validator.check_schema(text)
    return jsonschema.Draft202012Validator(text)


def read(name):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((GOLDEN / f"{name}.yaml").read_bytes())


@pytest.mark.parametrize("name", [n for n in golden("accepted") if n != "04_two_instances"])
def test_the_schema_accepts_what_the_daemon_accepts(schema, name):
    assert [e.message for e in schema.iter_errors(read(name))] == []


@pytest.mark.parametrize("name", ["12_list_at_top", "20_unknown_keys", "22_wrong_types", "23_bounds", "24_no_values", "25_listen",
                                  "30_plugins_flat", "31_plugins_as_map", "32_plugins_odd_entries"])
def test_the_schema_refuses_what_an_editor_can_see(schema, name):
    assert not schema.is_valid(read(name))


@pytest.mark.parametrize("change", [
    {"hostnam": "x"}, {"queue": {"retry": "soon"}}, {"listen": [{"adress": "127.0.0.1:25"}]}, {"workers": {}},
    {"plugins": [{"smarthost": {"host": ["x"]}}]}, {"plugins": [{"smarthost": {"hosts": ["x"], "connections": "many"}}]},
])
def test_the_schema_sees_a_mistake_in_the_example(schema, change):
    assert not schema.is_valid({**read("00_example"), **change})


def test_mistakes_of_core_and_plugins_are_told_at_once(tmp_path):
    f = tmp_path / "posthouse.yaml"
    f.write_text("""\
hostnam: x
queue:
  expire: 5 sek
plugins:
  - auth-anonymous
  - smarthost:
      hosts: ["127.0.0.1:2526"]
      conections: 3
  - nosuch
""")
    r = posthouse("check", "-c", f, "--plugin-dir", PLUGINS, check=False)
    assert r.returncode == 78
    places = [line.split(": error: ")[0].rsplit("/", 1)[1] for line in r.stderr.splitlines() if ": error: " in line]
    assert places == ["posthouse.yaml:1:1", "posthouse.yaml:3:11", "posthouse.yaml:8:7", "posthouse.yaml:9:5"]
    assert "4 errors" in r.stderr
