#!/usr/bin/env python3
"""Fails when a pure crate depends, directly or through others, on what it must not know, and on unsafe code.

Pure crates know no clock, disk, network or randomness of the operating system, and no threads but scoped ones: those end
inside the call that asked for them. What they depend on is asked of cargo metadata; what they call is asked of the source,
since the standard library has no manifest.

Unsafe code is in one folder, wherever else in the workspace it appears it is a fault, in tests too.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

PURE = ["consort-aggregation", "consort-privacy", "consort-model", "consort-contract", "consort-round"]
FORBIDDEN = {
    "tokio", "tonic", "rustls", "burn", "sev", "redb", "hyper", "axum", "reqwest", "object_store", "rand",
    "consort-attestation", "consort-storage", "consort-proto", "consort-daemon", "consort-training", "consort-audit",
    "consort-vault", "consort-site", "consort-coordinator", "consort-participant", "consort",
}
CALLS = re.compile(
    r"std::(fs|net|thread(?!::scope\b)|process|env|time::(Instant|SystemTime))\b|\bOsRng\b|\bthread_rng\b|\bgetrandom\b"
    r"|\bSystemTime\b|\bInstant::now\b"
)

UNSAFE = re.compile(r"\bunsafe\b")
UNSAFE_FOLDER = Path("aggregation/src/prg/vector")


def unsafe_lines(root, folders):
    for folder in folders:
        for path in sorted(folder.rglob("*.rs")):
            path = path.relative_to(root)
            if "target" in path.parts or path.is_relative_to(UNSAFE_FOLDER):
                continue
            for number, line in enumerate((root / path).read_text().splitlines(), 1):
                if UNSAFE.search(line.split("//")[0]):
                    yield f"{path}:{number}: {line.strip()}"


def dependencies(metadata):
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {package["id"]: package["name"] for package in metadata["packages"]}

    def normal(node):
        return [d["pkg"] for d in node["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]

    for crate in PURE:
        root = next(i for i, name in names.items() if name == crate)
        seen, todo = set(), [root]
        while todo:
            package = todo.pop()
            if package not in seen:
                seen.add(package)
                todo.extend(normal(nodes[package]))
        yield crate, {names[package] for package in seen - {root}}


def product_lines(path):
    """Lines of a source file up to its unit tests, without comments."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("#[cfg(test)]"):
            return
        yield number, line.split("//")[0]


def main():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    folders = {package["name"]: Path(package["manifest_path"]).parent for package in metadata["packages"]}
    faults = []
    for crate, names in dependencies(metadata):
        faults += [f"{crate} depends on {name}" for name in sorted(names & FORBIDDEN)]
        for path in sorted((folders[crate] / "src").rglob("*.rs")):
            if path.name == "tests.rs" or path.name.endswith("_tests.rs"):
                continue
            for number, line in product_lines(path):
                if CALLS.search(line):
                    faults.append(f"{path.relative_to(folders[crate].parent)}:{number}: {line.strip()}")
    members = [folders[package["name"]] for package in metadata["packages"] if package["id"] in metadata["workspace_members"]]
    unsafe = list(unsafe_lines(Path(metadata["workspace_root"]), members))
    for fault in faults:
        print(f"not pure: {fault}", file=sys.stderr)
    for fault in unsafe:
        print(f"unsafe outside {UNSAFE_FOLDER}: {fault}", file=sys.stderr)
    print(f"{len(PURE)} pure crates, {len(faults) + len(unsafe)} faults")
    return 1 if faults or unsafe else 0


if __name__ == "__main__":
    sys.exit(main())
