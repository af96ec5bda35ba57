# Licensed under the Apache License, Version 2.0. See LICENSE.
"""The shell commands that the pages show, and what parses them."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator

from airflow_provider_jimeng.cli import main as cli
from airflow_provider_jimeng.cli.spec import COMMANDS
from airflow_provider_jimeng.emulator import command as emulator

from tests.docs.pages import PAGES, ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "console", "bash", "sh")
#: Where a command ends for the program that runs it.
_END = frozenset({"|", "&&", ";", ">", ">>", "<", "&"})


def of_text(text: str) -> Iterator[str]:
    """Yield each command of a page's shell blocks: what stands after a prompt, lines joined."""
    for kind, body in _FENCE.findall(text):
        if kind not in _SHELL:
            continue
        for line in body.replace("\\\n", " ").splitlines():
            bare = line.strip()
            if bare.startswith("$ "):
                yield bare[2:]
            elif bare.startswith(("python -m airflow_provider_jimeng", "airflow jimeng")):
                yield bare


def shown() -> list[tuple[str, str]]:
    """Return page and command of every command that a page shows."""
    return [(path.name, line) for path in PAGES for line in of_text(path.read_text(encoding="utf-8"))]


def words(command: str) -> list[str]:
    """Split a command as a shell does, up to the first thing that is the shell's own."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    kept = []
    for word in lexer:
        if word in _END:
            break
        kept.append(word)
    return [word for word in kept if not re.fullmatch(r"[A-Z_]+=.*", word)] if kept else []


def ours() -> argparse.ArgumentParser:
    """Return the parser of ``python -m airflow_provider_jimeng``."""
    parser = argparse.ArgumentParser(prog="ours", exit_on_error=False)
    cli._add(parser, COMMANDS)
    return parser


def vendors() -> argparse.ArgumentParser:
    """Return the parser of the emulator."""
    return emulator._parser()


def make_targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
