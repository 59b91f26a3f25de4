"""Say what pip-audit was told: vulnerabilities, and the packages that it could not ask about.

scripts/audit_answer.py SERVICE ANSWER.json LOG

Ends with 0 where packages were asked about and none has a known vulnerability, 1 where one has, 2 where none was asked
about: pip-audit itself ends with 0 then, and says that it found nothing.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any


def main(service: str, answer: pathlib.Path, log: pathlib.Path) -> int:
    packages = read(answer)
    asked = [package for package in packages if "skip_reason" not in package]
    skipped = [package for package in packages if "skip_reason" in package]
    found = [(package, one) for package in asked for one in package["vulns"]]
    for package, one in found:
        fixed = f"; fixed in {', '.join(one['fix_versions'])}" if one["fix_versions"] else ""
        print(f"vulnerable: {package['name']} {package['version']}: {one['id']}{fixed}")
    if not asked:
        why = skipped[0]["skip_reason"] if skipped else (log.read_text().strip().splitlines() or ["no answer"])[-1]
        print(f"not asked: {service} said nothing of any of {len(skipped) or 'the'} packages ({why[:200]})")
        return 2
    print(f"{service}: {len(asked)} packages were asked about, {len(found)} vulnerabilities are known")
    if skipped:
        print(f"not asked about: {', '.join(sorted(package['name'] for package in skipped))}")
    return 1 if found else 0


def read(answer: pathlib.Path) -> list[dict[str, Any]]:
    """Return the packages, none where pip-audit gave up without an answer."""
    text = answer.read_text() if answer.exists() else ""
    packages: list[dict[str, Any]] = json.loads(text)["dependencies"] if text.strip() else []
    return packages


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])))
