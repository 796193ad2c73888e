"""Leave a Chromium for the tests that look at reports in a browser.

Where there is one already, nothing is done. Debian's is taken where this may install packages, else Playwright's own.
Where neither can be had, this says so, and the tests that need a browser are skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
MINUTES = 10


def present() -> bool:
    """Return whether there is a browser."""
    return any(map(shutil.which, NAMES)) or own().is_file()


def own() -> Path:
    """Return where Playwright keeps its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path)


def ways() -> list[list[list[str]]]:
    """Return what to try, one list of commands a way."""
    found = []
    if shutil.which("apt-get") and getattr(os, "geteuid", lambda: 1)() == 0:
        found.append(
            [["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "--no-install-recommends", NAMES[0]]]
        )
    return [*found, [[sys.executable, "-m", "playwright", "install", "chromium"]]]


def done(commands: list[list[str]]) -> bool:
    """Run commands; return whether all of them went well."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for command in commands:
            subprocess.run(command, env=quiet, check=True, timeout=60 * MINUTES, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"no browser this way: {error}", file=sys.stderr)
        return False
    return True


def main() -> None:
    """Look, install, look again."""
    if present():
        return
    print("installing a Chromium for the tests of reports")
    for commands in ways():
        if done(commands) and present():
            return
    print(
        "there is no Chromium, so the tests that look at reports in a browser will be skipped; "
        "install the package chromium of your system, or run: python -m playwright install chromium",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
