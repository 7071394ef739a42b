"""Known answers that belong to no round: encodings, trees, packed vectors, masks, seats."""

from encoding import canonical, chunked, digest, fixed, packed, schema_hash, sha256, sum_digest, tree_hash
from masking import mask


def encodings():
    cases = [
        ["consort/example/v1"],
        ["consort/example/v1", {"integer": 0}, {"integer": 2**64 - 1}],
        ["consort/example/v1", {"text": ""}, {"text": "Ωmega"}, {"bytes": "00ff"}, {"bytes": ""}],
        ["consort/example/v1", {"list": [{"text": "a"}, {"integer": 7}]}, {"list": []}],
    ]

    def flat(part):
        [(kind, value)] = part.items()
        if kind == "list":
            return [len(value)] + [leaf for item in value for leaf in flat(item)]
        return [bytes.fromhex(value) if kind == "bytes" else value]

    def case(label, *parts):
        content = canonical(label, *[leaf for part in parts for leaf in flat(part)])
        return {"label": label, "parts": list(parts), "encoded": content.hex(), "hash": sha256(content).hex()}

    leaves = [bytes([i]) * i for i in range(9)]
    widths = {1: [0, -1, -1, 0, 0, 0, -1, 0, -1], 7: [-64, 63, -1, 0, 17], 20: [-(2**19), 2**19 - 1, -1, 12345], 32: [-(2**31), 2**31 - 1, -2]}
    widths |= {33: [-(2**32), 2**32 - 1, -3], 45: [-(2**44), 2**44 - 1, -4, 5], 64: [-(2**63), 2**63 - 1, -5]}
    return {
        "canonical": [case(*c) for c in cases],
        "trees": [
            {"leaves": [leaf.hex() for leaf in leaves[:count]], "root": tree_hash(leaves[:count]).hex()} for count in range(10)
        ],
        "packed": [
            {
                "width": width,
                "integers": integers,
                "schema_hash": schema_hash(len(integers), width).hex(),
                "packed": packed(integers, width).hex(),
                "sum_digest": sum_digest(integers, width).hex(),
            }
            for width, integers in widths.items()
        ],
        "long": [long_vector(150_000, 21), long_vector(150_000, 45)],
    }


def long_vector(elements, width):
    """Several chunks: element i is i·2654435761 modulo 2^w, in two's complement."""
    content = packed([i * 2654435761 for i in range(elements)], width)
    chunks = chunked(content)
    signed = [i * 2654435761 for i in range(elements)]
    return {
        "elements": elements,
        "width": width,
        "multiplier": 2654435761,
        "chunk_lengths": [len(chunk) for chunk in chunks],
        "chunk_hashes": [sha256(chunk).hex() for chunk in chunks],
        "tree_hash": tree_hash(chunks).hex(),
        "sum_digest": sum_digest(signed, width).hex(),
    }


def masks():
    """Words of each number of bytes: at the start, across blocks, and far behind it, where the counter needs more than 32 bits."""
    cases = []
    for width in (1, 12, 21, 32, 33, 45, 52, 64):
        seed = fixed(f"mask of {width} bits")
        for first, count in [(0, 8), (3, 6), (8191, 4), (2**36 + 1, 5)]:
            cases.append({"seed": seed.hex(), "width": width, "first_element": first, "elements": mask(seed, first, count, width)})
    return {"masks": cases}


def seats():
    """Members of U1 on the circle."""
    cases = []
    for name, members in [("few", range(1, 13)), ("gaps", [m for m in range(1, 301) if m % 7])]:
        ctx, root = fixed(f"ctx of {name}"), fixed(f"adverts of {name}")
        ctx2 = digest("consort/aggregation/round-keys/v1", ctx, root)
        order = sorted(members, key=lambda u: digest("consort/aggregation/seat/v1", ctx2, u))
        cases.append({"ctx": ctx.hex(), "advert_root": root.hex(), "ctx2": ctx2.hex(), "members": list(members), "seats": order})
    return {"circles": cases}
