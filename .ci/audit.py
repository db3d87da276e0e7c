"""Known vulnerabilities of the pinned packages; `make audit` runs it.

Exit codes: 1 where a package has one that a newer version mends and `.ci/audit-ignore.txt` does not
excuse; else 0, also where no source of advisories can be reached, which is said. Whether one
answers is found out with a package that is known to be vulnerable: a mirror without advisories
would otherwise pass for a clean bill.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IGNORED = Path(__file__).with_name("audit-ignore.txt")
CANARY = "jinja2==2.4.1"
"""Has had advisories since 2014."""


def audited(requirements: Path, service: str) -> list[dict[str, Any]] | None:
    """pip-audit's findings by package; None where the service does not answer."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            requirements,
            "--no-deps",
            "--disable-pip",
            "--vulnerability-service",
            service,
            "--format",
            "json",
            "--progress-spinner",
            "off",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return found


def answers(service: str) -> bool:
    """Whether a service knows what everybody knows."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(CANARY)
        file.flush()
        return any(package.get("vulns") for package in audited(Path(file.name), service) or [])


def excuses(text: str) -> dict[str, str]:
    """Reasons by advisory; a line is an id, blanks, and why it does not concern us."""
    lines = [
        line.split(maxsplit=1)
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
    ]
    for words in lines:
        if len(words) < 2:
            sys.exit(f"{IGNORED}: {words[0]} has no reason; write one behind it")
    return {words[0]: words[1] for words in lines}


def judge(packages: list[dict[str, Any]], excused: dict[str, str]) -> tuple[list[str], list[str]]:
    """What must be mended, and what else should be said."""
    faults, notes, met = [], [], set()
    for package in packages:
        if reason := package.get("skip_reason"):
            notes.append(f"not audited: {reason}")
        for found in package.get("vulns", []):
            names = {found["id"], *found["aliases"]}
            said = f"{package['name']} {package['version']}: {found['id']}"
            if known := names & excused.keys():
                met |= known
                notes.append(f"{said}, ignored: {excused[min(known)]}")
            elif found["fix_versions"]:
                faults.append(f"{said}, mended in {', '.join(found['fix_versions'])}")
            else:
                notes.append(f"{said}, not mended by any version yet")
    notes += [
        f"{name} in {IGNORED.name} is found no more; take it out"
        for name in sorted(excused.keys() - met)
    ]
    return faults, notes


def main() -> int:
    service = next((name for name in ("pypi", "osv") if answers(name)), None)
    if service is None:
        print("audit: no source of advisories can be reached from here; nothing was audited")
        return 0
    packages = audited(ROOT / "constraints.txt", service)
    if packages is None:
        print(f"audit: {service} stopped answering; nothing was audited")
        return 0
    faults, notes = judge(packages, excuses(IGNORED.read_text() if IGNORED.is_file() else ""))
    print(
        "\n".join(
            [
                *notes,
                *faults,
                f"audit: {len(packages)} packages at {service}, {len(faults)} to mend",
            ]
        )
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
