"""docs/partners.md as a partner meets it: its blocks are run as they are pasted, in one shell, with three values set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

GUIDE: Final = Path(__file__).resolve().parent.parent / "docs" / "partners.md"
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SECONDS: Final = 60


def blocks(language: str) -> list[str]:
    """The blocks of a language, in the order of the page."""
    return [text for found, text in _BLOCK.findall(GUIDE.read_text()) if found == language]


def paste_into_shell(lines: list[str], values: Mapping[str, str]) -> str:
    """What a shell prints that is given some lines. The first command that fails ends it, which is an error here."""
    return _said(["sh", "-eu"], "\n".join(lines), values)


def run_python(text: str, values: Mapping[str, str]) -> str:
    """What Python prints that is given a program."""
    return _said([sys.executable, "-"], text, values)


def _said(command: list[str], text: str, values: Mapping[str, str]) -> str:
    done = subprocess.run(
        command,
        input=text,
        env={"PATH": os.environ["PATH"], **values},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
