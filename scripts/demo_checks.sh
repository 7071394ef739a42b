#!/usr/bin/env bash
# Runs the demo in each of its ways on the release build and holds its JSON to what it must show. Needs python3.
set -euo pipefail
cd "$(dirname "$0")/.."
consort=${CONSORT:-target/release/consort}
shared=${CONSORT_SHARED:-../shared}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# demo NAME ARGS...: runs it, keeps its JSON and its folder.
demo() {
    local name=$1
    shift
    echo "demo $*"
    "$consort" demo --json --dir "$work/$name" "$@" >"$work/$name.json" || {
        echo "demo $* failed:" >&2
        cat "$work/$name.json" >&2
        exit 1
    }
}

# holds NAME EXPRESSION: a Python expression over the JSON `d`.
holds() {
    python3 - "$work/$1.json" "$2" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
ok = eval(sys.argv[2], {"d": d, "len": len, "all": all, "abs": abs})
print(("  holds: " if ok else "  BROKEN: ") + sys.argv[2])
if not ok:
    print(json.dumps(d, indent=1))
    sys.exit(1)
PY
}

# refuses CODE ARGS...: the demo fails with this code, in JSON, and says why.
refuses() {
    local code=$1
    shift
    echo "demo $* is refused"
    if "$consort" demo --json --dir "$work/refused" "$@" >"$work/refused.json" 2>/dev/null; then
        echo "demo $* should have failed" >&2
        exit 1
    fi
    python3 - "$work/refused.json" "$code" <<'PY'
import json, sys
d = json.load(open(sys.argv[1]))
assert set(d) == {"error", "code"}, d
assert d["code"] == sys.argv[2], d
print("  " + d["code"] + ": " + d["error"])
PY
}

demo default
holds default 'd["members"] == 5 and d["rounds"] == 20 and d["survivors"] == [5] * 20'
holds default 'd["epsilon"] <= 1.0 and d["delta"] == 1e-5'
holds default 'd["test_accuracy"] >= 0.92'
holds default 'd["audit_verified"] is True and "SIMULATED" in str(d["attestation"])'
holds default 'd["coordinator_restarts"] == 0 and len(d["local_accuracy"]) == 5'
"$consort" audit verify "$work/default/coordinator/state/audit"

demo drop --drop clinic-3@4
holds drop 'd["survivors"][3] == 4 and d["survivors"][:3] + d["survivors"][4:] == [5] * 19'
holds drop 'd["audit_verified"] is True and d["test_accuracy"] >= 0.9'

demo crash --crash-coordinator 6
holds crash 'd["coordinator_restarts"] == 1 and d["survivors"] == [5] * 20 and d["audit_verified"] is True'

demo small --members 3 --rounds 5
holds small 'd["members"] == 3 and len(d["survivors"]) == 5'

if [ -d "$shared/data/fed_heart" ]; then
    demo heart --dataset heart --data "$shared/data/fed_heart"
    holds heart 'd["members"] == 4 and d["test_accuracy"] >= 0.80'
else
    echo "the heart data is not at $shared/data/fed_heart: its demo is skipped"
fi

echo 'all demos hold'
