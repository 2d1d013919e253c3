"""What millracectl makes of replies: tables that fit, watching; its completions, exit codes and help."""

import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
from fcntl import ioctl

import pytest

from conftest import BUILD, NOBODY, loopback, socket_config
from help_text import help_of, options, verbs
from lab.children import run
from support import until
from upstream import Script

CTL = BUILD / "millracectl"


def on_terminal(command, columns=80, read_until=None):
    """What a terminal of so many columns gets, and the exit code. read_until: then SIGINT."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([str(word) for word in command], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    text = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        text += more
        if read_until and read_until(text):
            process.send_signal(signal.SIGINT)
            read_until = None
    os.close(ours)
    return text.decode().replace("\r\n", "\n"), process.wait(10)


@pytest.mark.quick
def test_a_trace_of_forty_addresses_can_be_read(lab, daemon, upstreams):
    name = "forty.script.example."
    records = tuple(f"{name} 300 IN A 192.0.2.{i}" for i in range(1, 41))
    upstreams[0].scripts[name] = Script(records)
    one = daemon(socket_config(lab, [upstreams[0].endpoint]), NOBODY)
    command = [CTL, "--socket", one.socket, "trace", name, "A"]
    shown, code = on_terminal(command)
    assert code == 0 and max(len(line) for line in shown.splitlines()) <= 80, shown
    whole = run(command).stdout
    assert max(len(line) for line in whole.splitlines()) > 200, "no terminal: nothing is wrapped or cut"
    for text in (shown, whole):
        assert "192.0.2.16, 40 in all" in re.sub(r"\s+", " ", text), "the daemon names sixteen"
        assert len(set(re.findall(r"192\.0\.2\.\d+", text))) == 16, text
    for words in (["status"], ["stats"], ["upstream", "list"], ["cache", "lookup", name, "A"], ["acl", "list"]):
        for columns in (40, 80):
            shown, code = on_terminal([CTL, "--socket", one.socket, *words], columns)
            assert code == 0 and max(len(line) for line in shown.splitlines()) <= columns, shown


def test_watching_ends_with_the_daemon(lab, daemon, nsd):
    one = daemon(socket_config(lab, nsd), NOBODY)
    process = subprocess.Popen([CTL, "--socket", one.socket, "stats", "--watch", "0.1"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    one.ctl("quit")
    process.stdout.read()
    assert process.wait(20) == 2
    assert one.wait(20) == 0


def test_watching_appends_where_there_is_no_terminal(sockets, local):
    process = subprocess.Popen([CTL, "--socket", sockets.socket, "--json", "stats", "--watch", "0.2"],
                               stdout=subprocess.PIPE, text=True)
    first = json.loads(process.stdout.readline())["stats"]
    assert all("per_second" not in row for row in first)
    while True:
        local.ask("shared.lab.example")
        rows = {row["counter"]: row for row in json.loads(process.stdout.readline())["stats"]}
        if rows["received"]["per_second"] > 0:
            break
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(10) == 0


def test_watching_refreshes_a_terminal_in_place(sockets):
    clear = b"\x1b[H\x1b[2J"
    for words in (["stats", "--watch", "0.1"], ["top", "--watch", "0.1"], ["upstream", "list", "--watch", "0.1"]):
        shown, code = on_terminal([CTL, "--socket", sockets.socket, *words], 80, lambda text: text.count(clear) > 2)
        assert code == 0 and "per_second" in shown or words[0] == "upstream"
    assert run([CTL, "--socket", sockets.socket, "stats", "--watch", "0"]).returncode == 2
    shown, code = on_terminal([CTL, "--socket", sockets.socket, "stats", "--watch"], 80, lambda text: clear in text)
    assert code == 0


def test_watching_fits_the_screen(sockets):
    clear = "\x1b[H\x1b[2J"
    command = [CTL, "--socket", sockets.socket, "stats", "--watch", "0.1"]
    shown, _ = on_terminal(command, 80, lambda text: text.count(clear.encode()) > 2)
    lines = shown.split(clear)[1].splitlines()
    assert len(lines) == 23 and re.fullmatch(r"\.\.\. \d+ lines more", lines[-1]), "the cursor stands on the last"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_have_all_verbs_and_options(shell):
    script = run([CTL, "--completion", shell]).stdout
    places = set(re.findall(r"^    '([a-z -]*)'\)", script, re.MULTILINE))
    assert places == {"".join(f" {word}" for word in path) for path in [(), *verbs()]}
    for path in [(), *verbs()]:
        place = "".join(f" {word}" for word in path)
        line = re.search(rf"^    '{place}'\) (.*)$", script, re.MULTILINE)[1]
        for option in options("millracectl", *path):
            assert option in line, (path, option)


def test_completions_are_installed():
    listed = run(["meson", "introspect", "--installed", BUILD])
    if listed.returncode:
        pytest.skip("no build directory")
    places = set(json.loads(listed.stdout).values())
    assert any(place.endswith("share/bash-completion/completions/millracectl") for place in places)
    assert any(place.endswith("share/zsh/site-functions/_millracectl") for place in places)
    files = {"bash": "deploy/millracectl", "zsh": "deploy/_millracectl"}
    made = run(["ninja", "-C", BUILD, *files.values()])
    assert made.returncode == 0, made.stdout
    for shell, file in files.items():
        assert (BUILD / file).read_text() == run([CTL, "--completion", shell]).stdout


# What the shell's own completion would give or do is only named.
ASK = {"bash": "source <({ctl} --completion bash); compopt() {{ echo FILES; }}; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
               "_millracectl {ctl}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
       "zsh": "compset() {{ :; }}; _files() {{ echo FILES; }}; compadd() {{ shift; print -l -- $@; }}; "
              "_describe() {{ print -l -- ${{choices%%:*}}; }}; words=({line}); CURRENT=$#words; source <({ctl} --completion zsh)"}


@pytest.fixture(params=sorted(ASK))
def complete(request):
    """What there is for the last of the words."""
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")

    def ask(*words):
        last = words[-1] or ("''" if request.param == "zsh" else "")
        line = " ".join(str(word) for word in (CTL, *words[:-1], last))
        done = run([request.param, "-c", ASK[request.param].format(ctl=CTL, line=line)])
        assert done.returncode in (0, 1), done.stdout
        offered = done.stdout.split()
        before = re.sub("[^:=]*$", "", words[-1]) if request.param == "bash" else ""  # of the line, it stands there
        return {word if word == "FILES" else before + word for word in offered}

    ask.shell = request.param
    return ask


def test_shells_complete_verbs_and_options(complete):
    assert {"status", "cache", "config", "--json", "--socket"} <= complete("")
    assert {"lookup", "flush", "stats"} <= complete("cache", "") and "status" not in complete("cache", "")
    assert {"--all", "--zone", "--group"} <= complete("--json", "cache", "flush", "")
    assert "--watch" in complete("stats", "") and {"--json"} <= complete("log-level", "--")


def test_shells_complete_words_that_are_known(complete):
    assert complete("log-level", "") == {"error", "warning", "info"}
    assert complete("--socket", "/tmp/log-level", "log-level", "") == {"error", "warning", "info"}
    assert not complete("log-level", "info", "") & {"error", "warning", "info"}
    assert {"cache.stale", "fanout.active"} <= complete("config", "set", "") == complete("config", "show", "")
    assert "cache.stale" not in complete("config", "set", "cache.stale", "")
    for words in (["--socket", ""], ["status", "--socket", ""], ["config", "check", ""], ["--socket="]):
        assert complete(*words) == {"FILES"}, words
    assert "FILES" not in complete("trace", "")


def test_shells_complete_what_the_daemon_knows(complete, lab, daemon, nsd):
    groups = [{"group": "default", "servers": nsd}, {"group": "six", "servers": ["[2001:db8::1]:53", "dns.example.net:53"],
                                                    "bootstrap": nsd[:1]},
              {"group": "$(touch x) y", "servers": nsd[:1]}]
    one = daemon({**socket_config(lab, nsd), "upstreams": groups, "listen": [f"{loopback(lab)}:5301"]}, NOBODY)  # beside `sockets`
    asked = ["--socket", one.socket, "upstream"]

    def offers(expected, *words):
        return until(lambda: complete(*words) == expected)  # a daemon that is slow for once has nothing offered

    servers = {*nsd, "[2001:db8::1]:53", "dns.example.net:53"}
    for verb in ("up", "down", "auto", "remove"):
        assert offers(servers, *asked, verb, ""), verb
    assert offers(servers, f"--socket={one.socket}", "upstream", "up", "")
    if complete.shell == "bash":  # zsh compares by itself
        assert offers({"dns.example.net:53"}, *asked, "up", "dns.example.net:5")
    for words in ([*asked, "add", "192.0.2.1:53", ""], [*asked, "remove", nsd[0], ""], [*asked[:2], "cache", "flush", "--group", ""]):
        assert offers({"default", "six"}, *words), "what a shell would take for more is left out"
    assert set(one.ctl("ratelimit", "show")) == complete("ratelimit", "set", "")
    assert complete("--socket", "/nowhere", "upstream", "up", "") == set(), "without a daemon nothing, not even of what went wrong"


def test_completions_are_scripts_without_faults():
    bash = run(["bash", "-c", f"{CTL} --completion bash | bash -n"])
    assert bash.returncode == 0, bash.stdout
    zsh = run(["bash", "-c", f"command -v zsh >/dev/null || exit 0; {CTL} --completion zsh | zsh -n"])
    assert zsh.returncode == 0, zsh.stdout


def test_exit_codes_are_as_help_says(sockets):
    assert "0 when it is done, 1 when the daemon refuses" in re.sub(r"\s+", " ", help_of("millracectl"))
    assert sockets.ctl_process("status").returncode == 0
    assert sockets.ctl_process("cache", "lookup", "a..b", "A").returncode == 1
    for words in ([], ["frobnicate"], ["config", "set", "cache.stale"], ["acl"], ["--watch", "status"]):
        assert sockets.ctl_process(*words).returncode == 2, words
    assert until(lambda: run([CTL, "--socket", "/nowhere", "status"]).returncode == 2)
