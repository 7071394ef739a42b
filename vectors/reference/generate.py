#!/usr/bin/env python3
"""Writes the known answers of the protocol, from docs/protocol.md alone: generate.py FOLDER

Every input is fixed, so that two runs write the same bytes. scripts/vectors.sh runs this and compares.
"""

import json
import pathlib
import sys

import asking
import averaging
import contract
import examples
import gradient
import model
import query
import round_of_ten
import round_on_a_circle
import statements
import step


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    agreed = contract.file()
    starts = model.file(agreed["job"])
    attempt = round_of_ten.files(agreed)
    files = {
        "encoding": examples.encodings(),
        "masks": examples.masks(),
        "seats": examples.seats(),
        "contract": agreed,
        "asking": asking.file(),
        "fedavg": averaging.file(),
        "model": starts,
        "gradient": gradient.file(),
        "query": query.file(),
        "step": step.file(agreed, starts, attempt["opening"]["sum"]),
        "statements": statements.file(agreed, attempt["context"], attempt["keys"]),
        **attempt,
        "circle": round_on_a_circle.file(),
    }
    for name, content in files.items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


main()
