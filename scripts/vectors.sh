#!/usr/bin/env bash
# Makes the known answers of the protocol again with the reference in vectors/reference, and holds the committed files to them
# byte for byte.
#
#   scripts/vectors.sh            compare
#   scripts/vectors.sh --write    write vectors/secure-aggregation anew
#   scripts/vectors.sh --optional compare; exit status 0, with the reason, where python3 cannot make the environment
#
# Needs python3 (3.8 or newer) with venv, and what vectors/reference/requirements.txt names (installed into target/vectors).
set -euo pipefail
cd "$(dirname "$0")/.."

export PYTHONDONTWRITEBYTECODE=1
readonly FILES=vectors/secure-aggregation

main() {
    mode=${1:-}
    case $mode in
        '' | --write | --optional) ;;
        *)
            echo "vectors.sh does not know $mode" >&2
            exit 2
            ;;
    esac
    install
    if [ "$mode" = --write ]; then
        "$python" vectors/reference/generate.py "$FILES"
        return
    fi
    again=$(mktemp -d)
    trap 'rm -rf "$again"' EXIT
    "$python" vectors/reference/generate.py "$again"
    # Names too: a file that is there and not made is nobody's answer.
    if ! diff -r "$again" "$FILES" >&2; then
        echo 'the reference gives other answers than the committed files; if the protocol changed, docs/protocol.md says how, and --write' >&2
        exit 1
    fi
    echo "the reference gives the $(find "$FILES" -name '*.json' | wc -l) committed files"
}

cannot() {
    echo "vectors.sh cannot run: $1" >&2
    [ "$mode" = --optional ] && exit 0
    exit 1
}

# The environment, unless it has these very versions.
install() {
    local venv=target/vectors wanted=vectors/reference/requirements.txt
    python=$venv/bin/python
    if ! cmp -s "$wanted" "$venv/requirements.txt"; then
        rm -rf "$venv"
        python3 -m venv "$venv" >/dev/null 2>&1 || cannot 'python3 makes no virtual environment here'
        "$python" -m pip install --quiet --disable-pip-version-check -r "$wanted" || {
            rm -rf "$venv"
            cannot 'pip cannot install what requirements.txt names'
        }
        cp "$wanted" "$venv/requirements.txt"
    fi
}

main "$@"
