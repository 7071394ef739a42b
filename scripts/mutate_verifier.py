#!/usr/bin/env python3
"""Removes checks of the verifier one at a time and says which removals the tests do not notice.

    scripts/mutate_verifier.py [--list] [--only KIND] [--jobs-nice N]

The test `no_check_can_be_removed_unnoticed` removes every `require(...)` at run time, within one build. This script does what that
cannot: it edits a copy of the source, and compiles it for each mutant.

    call    each `require(condition, ...)`: the condition is true
    term    each operand of a condition's && and || alone
    guard   each `if ... { return Err(...) }`: never taken
    answer  each predicate named in ANSWERS: always the lenient answer

Needs half a minute for each mutant on an idle machine. Set CARGO_TARGET_DIR to reuse dependencies that were built already.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("attestation/src")
FILES = ["evidence.rs", "snp.rs", "certificate.rs", "trust.rs", "crl.rs", "verify.rs", "verify/chain.rs", "verify/said.rs"]
# The function, and the answer that lets everything through.
ANSWERS = [
    ("snp.rs", "is_signed_by", "true"),
    ("snp.rs", "is_issued_by", "true"),
    ("snp.rs", "is_signed_with_pss", "true"),
    ("certificate.rs", "is_named_rightly", "true"),
    ("certificate.rs", "is_p384", "true"),
    ("crl.rs", "revokes", "false"),
    ("crl.rs", "is_signed_by", "true"),
    ("trust.rs", "may", "true"),
    ("machine.rs", "reaches", "true"),
]
TESTS = [
    "tests::cases::each_", "tests::cases::an_explanation_goes", "tests::trust", "tests::policies", "tests::bad_certificates::a_", "evidence::tests", "machine::tests",
]


def balanced(text, start):
    """The end of the bracket that opens at `start`."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] in "([{":
            depth += 1
        elif text[at] in ")]}":
            depth -= 1
            if depth == 0:
                return at
    raise ValueError("unbalanced")


def first_argument(text, start):
    """From behind the bracket at `start` to the comma at its depth."""
    depth = 0
    for at in range(start, len(text)):
        if text[at] in "([{":
            depth += 1
        elif text[at] in ")]}":
            depth -= 1
        elif text[at] == "," and depth == 1:
            return start + 1, at
    raise ValueError("no argument")


def operands(condition):
    """The operands of the outermost && or ||, and which it is."""
    for sign in ("||", "&&"):
        parts, depth, last = [], 0, 0
        at = 0
        while at < len(condition):
            if condition[at] in "([{":
                depth += 1
            elif condition[at] in ")]}":
                depth -= 1
            elif depth == 0 and condition.startswith(sign, at):
                parts.append(condition[last:at])
                at += len(sign)
                last = at
                continue
            at += 1
        if parts:
            return parts + [condition[last:]]
    return []


def product_code(text):
    """Without the tests at the end of a file."""
    end = text.find("#[cfg(test)]\nmod tests")
    return text if end < 0 else text[:end]


def mutants():
    for name in FILES:
        path = SOURCE / name
        text = (ROOT / path).read_text()
        code = product_code(text)
        for match in re.finditer(r"\brequire\(", code):
            if code[: match.start()].endswith("fn "):
                continue
            start, end = first_argument(code, match.end() - 1)
            condition = code[start:end]
            if "\n" in condition and "self," in condition:
                continue
            yield "call", path, (start, end, f"true || ({condition.strip()})")
            if "|" in condition.replace("||", "") and "=>" in condition:
                continue
            for operand in operands(condition.strip()):
                yield "term", path, (start, end, operand.strip())
        for match in re.finditer(r"\bif ([^{}]*?) \{\s*return Err\(", code, re.S):
            if match.group(1).startswith("let "):
                continue
            yield "guard", path, (match.start(1), match.end(1), f"false && ({match.group(1)})")
            for operand in operands(match.group(1).strip()):
                yield "term", path, (match.start(1), match.end(1), operand.strip())
    for name, function, answer in ANSWERS:
        path = SOURCE / name
        text = (ROOT / path).read_text()
        match = re.search(rf"fn {function}\b", text)
        # The body opens behind the return type.
        arrow = text.index("-> bool", match.end())
        at = text.index("{", arrow) + 1
        yield "answer", path, (at, at, f" if true {{ return {answer}; }} ")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--jobs-nice", type=int, default=10)
    arguments = parser.parse_args()
    found = [mutant for mutant in mutants() if arguments.only in (None, mutant[0])]
    if arguments.list:
        for kind, path, (start, _, replacement) in found:
            line = (ROOT / path).read_text()[:start].count("\n") + 1
            print(f"{kind:6} {path}:{line}  {' '.join(replacement.split())}")
        print(f"{len(found)} mutants")
        return
    copy = Path(tempfile.mkdtemp(prefix="mutants-"))
    try:
        for part in ["attestation", "aggregation"]:
            shutil.copytree(ROOT / part, copy / part)
        # What tests compare with: the document's table, known answers, a corpus.
        for part in ["docs", "vectors", "decoders"]:
            (copy / part).symlink_to(ROOT / part)
        manifest = (ROOT / "Cargo.toml").read_text()
        manifest = re.sub(r"members = \[.*?\]", 'members = ["aggregation", "attestation"]', manifest, count=1, flags=re.S)
        manifest = re.sub(r"default-members = .*\n", "", manifest)
        (copy / "Cargo.toml").write_text(manifest)
        shutil.copy(ROOT / "Cargo.lock", copy / "Cargo.lock")
        survived, killed, unbuilt = [], 0, []
        if not outcome(copy, arguments)[0]:
            sys.exit("the tests fail without any mutant:\n" + outcome(copy, arguments)[1][-2000:])
        for number, (kind, path, (start, end, replacement)) in enumerate(found, 1):
            text = (ROOT / path).read_text()
            line = text[:start].count("\n") + 1
            label = f"{kind} {path}:{line}  {' '.join(replacement.split())}"
            (copy / path).write_text(text[:start] + replacement + text[end:])
            passed, output = outcome(copy, arguments)
            (copy / path).write_text(text)
            if "could not compile" in output:
                unbuilt.append(label)
                verdict = "does not compile"
            elif passed:
                survived.append(label)
                verdict = "SURVIVED"
            else:
                killed += 1
                verdict = "killed"
            print(f"{number}/{len(found)} {verdict}: {label}", flush=True)
        print(f"{killed} killed, {len(survived)} survived, {len(unbuilt)} do not compile")
        for label in survived:
            print(f"survived: {label}")
    finally:
        shutil.rmtree(copy)


def outcome(copy, arguments):
    command = ["nice", "-n", str(arguments.jobs_nice), "cargo", "test", "--offline", "-p", "consort-attestation", "--lib", "--", *TESTS]
    environment = {**os.environ, "CARGO_INCREMENTAL": "0", "RUSTFLAGS": os.environ.get("RUSTFLAGS", "")}
    if not environment["RUSTFLAGS"]:
        del environment["RUSTFLAGS"]
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        return False, "timed out"
    return run.returncode == 0, run.stdout + run.stderr


if __name__ == "__main__":
    main()
