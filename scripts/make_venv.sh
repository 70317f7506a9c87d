#!/usr/bin/env bash
# Makes .venv with every pinned dependency and this project, editable. Called by make, from the checkout's root.
set -euo pipefail

refuse() {
  printf 'cannot make .venv: %s\n' "$1" >&2
  exit 1
}

python=""
for candidate in ${WATTKEEPER_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
[ -n "$python" ] || refuse "there is no Python 3.11 or newer; install one, or name it in WATTKEEPER_PYTHON"

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    refuse "$("$python" --version) has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
  "$python" -m venv .venv
fi

pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input --quiet)
echo "installing what requirements/dev.txt pins into .venv"
"${pip[@]}" install --require-hashes -r requirements/dev.txt
"${pip[@]}" install --no-deps --no-build-isolation --editable .
touch .venv/.installed
