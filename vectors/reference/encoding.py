"""docs/protocol.md, "Encodings": parts, hashes, tree hashes, packed vectors, identity keys."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

CHUNK_BYTES = 262_144


def sha256(data):
    return hashlib.sha256(data).digest()


def part(value):
    """An integer takes 8 big-endian bytes, text is UTF-8."""
    if isinstance(value, int):
        value = value.to_bytes(8, "big")
    elif isinstance(value, str):
        value = value.encode()
    return len(value).to_bytes(4, "big") + value


def canonical(label, *parts):
    return b"".join(part(value) for value in (label, *parts))


def digest(label, *parts):
    return sha256(canonical(label, *parts))


def listed(items):
    """The parts of a list: its count, then the parts of its items."""
    items = list(items)
    parts = [len(items)]
    for item in items:
        parts.extend(item if isinstance(item, (list, tuple)) else [item])
    return parts


def tree_hash(leaves):
    """RFC 6962 section 2.1, as it is defined there."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:]))


def packed(elements, width):
    """Bit k of element i is bit i·w + k of the vector, counted from the least significant bit of its first byte."""
    bits = "".join(format(element % 2**width, f"0{width}b")[::-1] for element in elements)
    size = -(-len(bits) // 8)
    return int(bits[::-1], 2).to_bytes(size, "little")


def chunked(data):
    return [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]


def schema_hash(elements, width):
    return digest("consort/aggregation/vector-schema/v1", elements, width)


def sum_digest(integers, width):
    root = tree_hash(chunked(packed(integers, width)))
    return digest("consort/aggregation/sum/v1", schema_hash(len(integers), width), root)


def member_set(members):
    """H(U)."""
    return digest("consort/round/member-set/v1", *listed(sorted(members)))


def shared_set(statements):
    """S(U) of the signed bytes of each member's statement."""
    return digest("consort/round/shared-set/v1", *listed(shared_list(statements)))


def shared_list(statements):
    return [[u, sha256(statements[u])] for u in sorted(statements)]


def fixed(name, size=32):
    """Bytes that look random and that anybody can make again; what they are made of has no meaning."""
    return hashlib.shake_256(b"consort vectors: " + name.encode()).digest(size)


def identity(seed):
    """The Ed25519 public key (RFC 8032) of a seed."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed, message):
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def signed(seed, message):
    """A signed message, for the files."""
    return {"bytes": message.hex(), "signature": sign(seed, message).hex()}
