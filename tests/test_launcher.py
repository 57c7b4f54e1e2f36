"""The launcher in a scratch clone with a requirements file of its own: each test says what a newcomer would see."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Programs of the base system that the launcher calls.
TOOLS = ("sh", "readlink", "dirname", "cat", "sha256sum", "cut", "flock", "mv")
NOTHING_LISTENS_HERE = "http://127.0.0.1:9/simple"
MANAGE = "import sys\nprint('manage.py got', sys.argv[1:])\n"
NO_PYTHON = (
    "matricula: Python 3.11 or later is needed, and there is no python3 on the PATH: "
    "apt install python3 python3-venv\n"
)

pytestmark = [pytest.mark.timeout(240), pytest.mark.any_database]


def clone(folder: Path) -> Path:
    """A clone whose requirements ask for nothing, so that no network is needed."""
    folder.mkdir()
    shutil.copy(ROOT / "matricula", folder)
    (folder / "manage.py").write_text(MANAGE)
    (folder / "requirements.txt").write_text("# nothing\n")
    commands = folder / "room" / "management" / "commands"
    commands.mkdir(parents=True)
    (commands / "greet.py").touch()
    return folder


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """An environment in which pip has nowhere to fetch from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": NOTHING_LISTENS_HERE, "PIP_RETRIES": "0"}
    return {**kept, **nowhere, **changes}


def run(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "matricula", *arguments],
        env=environment(changes),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def path_with_python(folder: Path, script: str | None) -> str:
    """A PATH of the base system's tools alone, and of a python3 that is the given script."""
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    if script is not None:
        (folder / "python3").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "python3").chmod(0o755)
    return str(folder)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that has been started once."""
    folder = clone(tmp_path_factory.mktemp("installed") / "clone")
    first = run(folder, "greet")
    assert first.returncode == 0, first.stderr
    return folder


@pytest.mark.parametrize(
    ("python", "line"),
    [
        ("echo 3.9.2; exit 1", "matricula: Python 3.11 or later is needed, and python3 here is 3.9.2.\n"),
        (
            None,
            NO_PYTHON,
        ),
        (
            # Debian without python3-venv: Python is there, ensurepip is not.
            "case $2 in *version_info*) echo 3.11.2 ;; *) exit 1 ;; esac",
            "matricula: python3 cannot make virtual environments here: apt install python3-venv\n",
        ),
    ],
    ids=["old", "none", "without venv"],
)
def test_a_python_that_will_not_do_is_one_line(tmp_path: Path, python: str | None, line: str) -> None:
    folder = clone(tmp_path / "clone")
    ended = run(folder, "greet", PATH=path_with_python(tmp_path / "bin", python))
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)
    assert not (folder / ".venv").exists()


def test_no_network_is_one_line_that_names_the_log(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    (folder / "requirements.txt").write_text("no-such-package-of-matricula==1.0\n")
    ended = run(folder, "greet")
    log = folder / ".venv" / "pip.log"
    told, problem = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert (
        told == "matricula: installing the packages of requirements.txt; the first time takes a minute or two"
    )
    assert problem == (
        "matricula: the packages could not be fetched: check the network, then start this again "
        f"(pip's log: {log})"
    )
    assert "no-such-package-of-matricula" in log.read_text()

    # The broken attempt is not taken for a finished one.
    (folder / "requirements.txt").write_text("# nothing\n")
    assert "manage.py got ['greet']" in run(folder, "greet").stdout


def test_what_is_installed_is_not_installed_again(installed: Path) -> None:
    pip = next(installed.glob(".venv/lib/python*/site-packages/pip"))
    away = pip.rename(pip.with_name("pip-away"))  # whoever calls it now, fails
    try:
        again = run(installed, "greet", "--loud", "two words")
    finally:
        away.rename(pip)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "manage.py got ['greet', '--loud', 'two words']\n"


def test_it_works_from_any_folder_and_through_a_link(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "matricula").symlink_to(installed / "matricula")
    ended = run(tmp_path, "greet")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_changed_requirements_are_installed(tmp_path: Path, installed: Path) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(installed, folder, symlinks=True)
    (folder / "requirements.txt").write_text("# something else\n")
    assert "installing the packages of requirements.txt" in run(folder, "greet").stderr
    assert run(folder, "greet").stderr == ""


def test_of_two_first_starts_at_once_one_installs(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    both = [
        subprocess.Popen(
            [folder / "matricula", "greet"],
            env=environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out for out, _ in said] == ["manage.py got ['greet']\n"] * 2
    assert "".join(problem for _, problem in said).count("installing") == 1


def test_an_unknown_command_is_one_line(installed: Path) -> None:
    ended = run(installed, "gret")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        'matricula: there is no command "gret": ./matricula --help names the first ones, ./matricula help all\n'
    )


def test_without_a_command_it_says_how_it_is_used(tmp_path: Path) -> None:
    folder = clone(tmp_path / "clone")
    asked, silent = run(folder, "--help"), run(folder)
    assert asked.stdout == silent.stderr
    assert asked.stdout.startswith("usage: ./matricula COMMAND")
    assert (asked.returncode, silent.returncode) == (0, 2)
    assert not (folder / ".venv").exists()
