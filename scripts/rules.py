#!/usr/bin/env python3
"""Fails when docs/protocol.md, the code and the tests disagree about the rules.

Every rule in the document's tables has a check in product code (`Rule::R14c` where it stands, `by construction: C1` where a
type leaves no other way, or `Rule C6.` in a comment of the daemons), a test that obeys it and one that breaks it (the doc
line `Obeys R1, R2a. Breaks R3.` over a test), and none of them names a rule that the document lacks.

`--self-test` takes single entries out of a copy, and fails unless each loss is found.
"""
import re
import shutil
import sys
import tempfile
from pathlib import Path

DOCUMENT = "docs/protocol.md"
ENUM = "round/src/rules.rs"
FOLDERS = ["round/src", "round/tests", "coordinator/src", "participant/src"]
NUMBER = r"[RC]\d+[a-z]?"
ROW = re.compile(rf"^\| ({NUMBER}) \|", re.M)
VARIANT = re.compile(rf'^    ({NUMBER}) "', re.M)
CHECK = re.compile(rf"\bRule::({NUMBER})\b|\bby construction: ({NUMBER})\b|// Rule ({NUMBER})\.")
CLAIM = re.compile(rf"\b(Obeys|Breaks) ((?:{NUMBER})(?:, {NUMBER})*)\.")


def is_test_file(path):
    return "tests" in path.parts or "attacks" in path.parts or path.name == "tests.rs" or path.name.endswith("_tests.rs")


def product_lines(text):
    """The lines up to a file's unit tests."""
    for line in text.splitlines():
        if re.match(r"#\[cfg\(test\)\]", line):
            return
        yield line


def claims(text, where, faults):
    """The rules that doc lines claim, each directly over a test that runs by default."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if not line.strip().startswith("///"):
            continue
        found = CLAIM.findall(line)
        if not found:
            continue
        following = next((n for n in range(i + 1, len(lines)) if not lines[n].strip().startswith("///")), i)
        head = lines[following : following + 3]
        if not any(re.match(r"\s*#\[(tokio::)?test", h) for h in head[:1]) or any("#[ignore" in h for h in head):
            faults.append(f"{where}:{i + 1}: '{line.strip()}' stands over no test that runs by default")
            continue
        for kind, numbers in found:
            for number in numbers.split(", "):
                yield kind, number


def compare(root):
    rows = ROW.findall((root / DOCUMENT).read_text())
    document, faults = set(rows), []
    faults += [f"{DOCUMENT} has {n} twice" for n in sorted(document) if rows.count(n) > 1]
    enum = set(VARIANT.findall((root / ENUM).read_text()))
    checked, claimed = set(), {"Obeys": set(), "Breaks": set()}
    for path in sorted(p for folder in FOLDERS for p in (root / folder).rglob("*.rs")):
        where, text = path.relative_to(root), path.read_text()
        for kind, number in claims(text, where, faults):
            claimed[kind].add(number)
        if str(where) != ENUM and not is_test_file(where):
            for line in product_lines(text):
                checked.update(next(filter(None, match)) for match in CHECK.findall(line))
    for number in sorted(document, key=order):
        if number not in enum:
            faults.append(f"{number} is in {DOCUMENT} and not in {ENUM}")
        if number not in checked:
            faults.append(f"{number} has no check in the code")
        if number not in claimed["Obeys"]:
            faults.append(f"{number} has no test that obeys it")
        if number not in claimed["Breaks"]:
            faults.append(f"{number} has no test that breaks it")
    for what, numbers in [(ENUM, enum), ("the code", checked), ("a test", claimed["Obeys"] | claimed["Breaks"])]:
        faults += [f"{n} is named in {what} and not in {DOCUMENT}" for n in sorted(numbers - document, key=order)]
    return document, faults


def order(number):
    letter, digits, rest = re.match(r"([RC])(\d+)(.*)", number).groups()
    return letter != "R", int(digits), rest


def self_test(root):
    """Each of these losses must be found, and named."""
    losses = [
        ("a rule's row", DOCUMENT, r"^\| R14c \|.*\n", "", "R14c is named in"),
        ("a rule's variant", ENUM, r"^    R14c .*\n", "", "R14c is in"),
        ("a check", "round/src/participant/submitted.rs", r"Rule::R14c\b", "Rule::R14b", "R14c has no check"),
        ("a check by construction", "round/src/participant/submitted.rs", r"by construction: R17b", "", "R17b has no check"),
        ("an obeying test", "round/src/attacks/opening.rs", r"R14c, R15", "R15", "R14c has no test that obeys"),
        ("a breaking test", "round/src/attacks/opening.rs", r"^/// Breaks R14c\.\n", "", "R14c has no test that breaks"),
        ("a test under its claim", "round/src/attacks/opening.rs", r"(/// Breaks R14c\.\n)#\[test\]\n", r"\1", "stands over no test"),
        ("a test that does not run", "round/src/attacks/opening.rs", r"(/// Breaks R14c\.\n#\[test\]\n)", r"\1#[ignore]\n", "stands over no test"),
        ("a rule nobody wrote down", "round/src/attacks/opening.rs", r"/// Breaks R14c\.", "/// Breaks R14c, R99.", "R99 is named in a test"),
    ]
    missed = 0
    for what, name, pattern, replacement, expected in losses:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder)
            for part in ["docs", *FOLDERS]:
                shutil.copytree(root / part, copy / part)
            text, count = re.subn(pattern, replacement, (copy / name).read_text(), flags=re.M)
            (copy / name).write_text(text)
            _, faults = compare(copy)
            if not count or not any(expected in fault for fault in faults):
                print(f"not found: {what} ({name})", file=sys.stderr)
                missed += 1
    print(f"{len(losses)} losses, {missed} not found")
    return 1 if missed else 0


def main():
    root = Path(__file__).resolve().parent.parent
    if sys.argv[1:] == ["--self-test"]:
        return self_test(root)
    document, faults = compare(root)
    for fault in faults:
        print(f"rules: {fault}", file=sys.stderr)
    print(f"{len(document)} rules, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
