#!/usr/bin/env bash
# Make the environment that the Makefile works in: set_up.sh PYTHON VENV. Run again, it repairs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2 unfinished=$2/.unfinished

fail() { echo "set-up: $1" >&2; exit 2; }

command -v "$python" > /dev/null || fail "no '$python' here: install Python 3.11 or newer, or name one: make PYTHON=..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "'$python' is $("$python" -V 2>&1): Kossel needs Python 3.11 or newer; name one: make PYTHON=python3.11"

# One set-up at a time in one checkout.
if command -v flock > /dev/null; then exec 9> .setup.lock; flock 9; fi

unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
pip=("$venv/bin/python" -m pip install --quiet)

# Packages that an interrupt left half-installed look whole to pip: begin anew then.
if [ -e "$unfinished" ] || ! "$venv/bin/python" -m pip --version > /dev/null 2>&1; then
    echo "set-up: environment in $venv ($("$python" -V), about 3 minutes)"
    "$python" -m venv --clear "$venv" || fail "no virtual environment: install the venv module (Debian, Ubuntu: python3-venv)"
fi
touch "$unfinished"
echo "set-up: packages of requirements.lock"
grep -vE '^(#|gpaw==|gpaw-data==)' requirements.lock > "$venv/packages.txt"
"${pip[@]}" -r "$venv/packages.txt"
"${pip[@]}" --no-deps --editable .
rm "$unfinished"
if [ -z "${KOSSEL_WITHOUT_GPAW:-}" ]; then "$venv/bin/python" scripts/build_gpaw.py; fi
echo "set-up: done"
