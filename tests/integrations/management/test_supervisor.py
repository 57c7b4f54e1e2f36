"""The supervisor with children that do one thing each. It runs in a process of its own: it takes signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integrations.management.supervisor import last_words

pytestmark = pytest.mark.any_database  # its children have none

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 30

# A child is healthy when the file of its name is there; another file tells that all are started.
PROGRAM = """
import json, sys
from pathlib import Path
from integrations.management import supervisor

folder, children, changes = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
for name, value in changes.items():
    setattr(supervisor, name, value)
keeper = supervisor.Supervisor(
    logs=folder / "logs", folder=folder, environment={"FOLDER": str(folder)},
    say=lambda text: print(text, file=sys.stderr, flush=True),
)
try:
    with keeper:
        for name, code in children.items():
            is_healthy = (folder / name).exists
            keeper.start(supervisor.Child(name, [sys.executable, "-c", code], is_healthy, start_seconds=5))
        (folder / "all-started").touch()
        keeper.watch()
except supervisor.ChildFailedError as problem:
    sys.exit(f"failed: {problem}")
except supervisor.ToldToStopError:
    sys.exit("told to stop")
"""

# Says what it does in $FOLDER/story, and ends at SIGTERM.
OBEDIENT = """
import os, signal
folder = os.environ["FOLDER"]
def tell(what):
    with open(folder + "/story", "a") as story:
        story.write(what + " NAME\\n")
def end(*_):
    tell("ends")
    raise SystemExit
signal.signal(signal.SIGTERM, end)
tell("starts")
open(folder + "/NAME", "w").write(str(os.getpid()))
while True:
    signal.pause()
"""
STUBBORN = OBEDIENT.replace("raise SystemExit", "pass")
# Has a child of its own that does not listen.
FAMILY = OBEDIENT.replace(
    'tell("starts")',
    """
import subprocess, sys
deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
grandchild = subprocess.Popen([sys.executable, "-c", deaf])
open(folder + "/grandchild", "w").write(str(grandchild.pid))
""",
)


class Supervised:
    """The program above, running."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self, children: dict[str, str], **changes: float) -> subprocess.Popen[str]:
        children = {name: code.replace("NAME", name) for name, code in children.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(self.folder), json.dumps(children), json.dumps(changes)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.process

    def until(self, name: str) -> str:
        """Wait for a file to say something, and return that."""
        path = self.folder / name
        eventually(lambda: path.exists() and path.read_text() != "")
        return path.read_text()

    def started(self) -> None:
        eventually((self.folder / "all-started").exists)

    def story(self) -> list[str]:
        return (self.folder / "story").read_text().splitlines()

    def ended(self) -> tuple[int, str]:
        assert self.process
        _, said = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, said


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    yield supervised
    if supervised.process and supervised.process.stderr:
        supervised.process.kill()
        supervised.process.wait()
        supervised.process.stderr.close()


def test_starts_in_order_and_stops_in_reverse(supervised: Supervised) -> None:
    process = supervised.start({"first": OBEDIENT, "second": OBEDIENT, "third": OBEDIENT})
    supervised.started()
    process.send_signal(signal.SIGTERM)
    assert supervised.ended() == (0, "")
    assert supervised.story() == [
        *("starts first", "starts second", "starts third"),
        *("ends third", "ends second", "ends first"),
    ]


def test_a_crashed_child_is_started_again_ever_later(supervised: Supervised) -> None:
    process = supervised.start({"child": OBEDIENT})
    supervised.started()
    for _ in range(2):
        pid = int(supervised.until("child"))
        (supervised.folder / "child").unlink()
        os.kill(pid, signal.SIGKILL)
    supervised.until("child")
    process.send_signal(signal.SIGINT)
    code, said = supervised.ended()
    assert code == 0
    assert [line.split(";")[0] for line in said.splitlines()] == ["child was ended by signal 9 (Killed)"] * 2
    assert "starts again in 1 s" in said.splitlines()[0]
    assert "starts again in 2 s" in said.splitlines()[1]
    assert supervised.story() == ["starts child"] * 3 + ["ends child"]


def test_a_child_that_will_not_end_is_killed_and_named(supervised: Supervised) -> None:
    process = supervised.start({"first": OBEDIENT, "second": STUBBORN}, DRAIN_SECONDS=0.5)
    supervised.started()
    process.send_signal(signal.SIGTERM)
    assert supervised.ended() == (0, "second did not end when asked to, and was killed\n")
    assert supervised.story()[-1] == "ends first"


def test_a_second_signal_cuts_the_draining_short(supervised: Supervised) -> None:
    process = supervised.start({"child": STUBBORN})
    supervised.started()
    process.send_signal(signal.SIGINT)
    eventually(lambda: "ends child" in supervised.story())
    process.send_signal(signal.SIGINT)
    assert supervised.ended() == (0, "child did not end when asked to, and was killed\n")


def test_what_a_child_started_goes_with_it(supervised: Supervised) -> None:
    process = supervised.start({"child": FAMILY})
    supervised.started()
    grandchild = int(supervised.until("grandchild"))
    process.send_signal(signal.SIGTERM)
    assert supervised.ended() == (0, "")
    eventually(lambda: not is_alive(grandchild))


def test_killed_itself_it_takes_its_children_with_it(supervised: Supervised) -> None:
    process = supervised.start({"first": OBEDIENT, "second": STUBBORN})
    supervised.started()
    children = [int(supervised.until(name)) for name in ("first", "second")]
    assert all(is_alive(pid) for pid in children)
    process.kill()
    eventually(lambda: not any(is_alive(pid) for pid in children))


def test_a_child_that_fails_at_the_start_is_named_with_its_reason_and_the_others_are_stopped(
    supervised: Supervised,
) -> None:
    supervised.start({"first": OBEDIENT, "second": "raise LookupError('no such thing')"})
    code, said = supervised.ended()
    log = supervised.folder / "logs" / "second.log"
    assert code == 1
    assert said == f"failed: second ended with exit code 1: LookupError: no such thing (log: {log})\n"
    assert supervised.story() == ["starts first", "ends first"]


def test_a_child_without_a_sign_of_health_is_named(supervised: Supervised) -> None:
    supervised.start({"child": "import signal; signal.pause()"})
    code, said = supervised.ended()
    assert code == 1
    assert said.startswith("failed: child gave no sign of health within 5 seconds (log: ")


def test_a_signal_during_the_start_stops_what_runs(supervised: Supervised) -> None:
    process = supervised.start({"first": OBEDIENT, "second": "import signal; signal.pause()"})
    eventually((supervised.folder / "logs" / "second.log").exists)
    process.send_signal(signal.SIGTERM)
    assert supervised.ended() == (1, "told to stop\n")
    assert supervised.story() == ["starts first", "ends first"]


def test_the_log_of_the_start_before_is_kept(supervised: Supervised) -> None:
    logs = supervised.folder / "logs"
    logs.mkdir()
    (logs / "child.log").write_text("from before\n")
    process = supervised.start({"child": OBEDIENT})
    supervised.started()
    process.send_signal(signal.SIGTERM)
    supervised.ended()
    assert (logs / "child.log.1").read_text() == "from before\n"
    assert (logs / "child.log").read_text() == ""


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", ""),
        ("first\nlast\n\n", "last"),
        ('{"event": "the database is locked", "level": "error"}\n', "the database is locked"),
        ('{"event": "it failed", "exception": "Traceback:\\n  ...\\nKeyError: 7"}\n', "KeyError: 7"),
        ("[1, 2]\n", "[1, 2]"),
    ],
)
def test_the_last_words_of_a_log(tmp_path: Path, lines: str, words: str) -> None:
    log = tmp_path / "some.log"
    log.write_text(lines)
    assert last_words(log) == words


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert last_words(tmp_path / "none.log") == ""
