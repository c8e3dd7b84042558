"""The findings of pip-audit, in plain words: `advisories.py REPORT.json`.

By itself pip-audit calls it a success where the index knows none of the
packages, as mirrors do. Here it is said of how many there was an answer; only
an advisory fails, no want of a network.
"""

import json
import pathlib
import sys


def lines_of(report: str) -> tuple[list[str], list[str]]:
  """Lines that say what was asked, and a line for each advisory.

  Args:
    report: path of what `pip-audit --format json` wrote, or would have.
  """
  try:
    text = pathlib.Path(report).read_text(encoding="utf-8")
    packages = json.loads(text)["dependencies"]
  except (OSError, ValueError, KeyError):
    return ["not audited: pip-audit or its service is out of reach"], []
  known = [package for package in packages if "vulns" in package]
  findings = [
    f"{package['name']} {package['version']}: {one['id']}, fixed in "
    f"{', '.join(one.get('fix_versions', ())) or 'no version yet'}"
    for package in known
    for one in package["vulns"]
  ]
  said = f"audited {len(known)} of {len(packages)} packages"
  if not known:
    said = (
      f"not audited: the index answers for none of {len(packages)} packages"
    )
  return [said], findings


if __name__ == "__main__":
  lines, advisories = lines_of(sys.argv[1])
  print("\n".join(lines))
  for advisory in advisories:
    print(advisory, file=sys.stderr)
  sys.exit(bool(advisories))
