#!/usr/bin/env bash
# tools/bootstrap.sh PYTHON EXTRA: makes .venv and installs the project with one extra, pinned by constraints.txt.
# EXTRA is `cli` (what a user of the command line needs; no torch) or `dev` (everything, training libraries included).
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 extra=$2

"$python" - <<'PY' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"stowplan needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Name another: make PYTHON=python3.12 ...")
try:
    import ensurepip, venv  # noqa: F401
except ImportError:
    sys.exit("this Python has no venv module. On Debian and Ubuntu: apt-get install python3-venv")
PY

[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "installing stowplan[$extra] into .venv (constraints.txt pins every version)" >&2
.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[$extra]"
# `dev` holds everything that `cli` does.
touch ".venv/.installed-$extra"
[ "$extra" = cli ] || touch .venv/.installed-cli
