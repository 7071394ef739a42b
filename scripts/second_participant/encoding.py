"""The canonical encoding, the tree hash and packed vectors (docs/protocol.md, "Encodings")."""

import hashlib
import struct

CHUNK_BYTES = 262_144


def canonical(label, *parts):
    """A label and parts: integers take 8 bytes, text is UTF-8. A list is its count followed by the parts of its items."""
    encoded = []
    for part in (label, *parts):
        if isinstance(part, bool):
            raise TypeError("say 0 or 1")
        if isinstance(part, int):
            part = struct.pack(">Q", part)
        elif isinstance(part, float):
            part = struct.pack(">d", part)
        elif isinstance(part, str):
            part = part.encode()
        encoded.append(struct.pack(">I", len(part)) + bytes(part))
    return b"".join(encoded)


def sha256(data):
    return hashlib.sha256(data).digest()


def digest(label, *parts):
    return sha256(canonical(label, *parts))


def tree_hash(leaves):
    """RFC 6962 section 2.1."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:]))


def member_set(members):
    """H(U)."""
    members = sorted(members)
    return digest("consort/round/member-set/v1", len(members), *members)


def shared_set(statements):
    """S(U): of the signed bytes of each member's statement."""
    named = [part for u in sorted(statements) for part in (u, sha256(statements[u]))]
    return digest("consort/round/shared-set/v1", len(statements), *named)


def pack(elements, width):
    """Elements below 2^width, little-endian at exactly `width` bits each."""
    packed, held, bits = bytearray(), 0, 0
    for element in elements:
        held |= element << bits
        bits += width
        whole = bits // 8
        packed += (held & (1 << 8 * whole) - 1).to_bytes(whole, "little")
        held >>= 8 * whole
        bits -= 8 * whole
    return bytes(packed + (bytes([held]) if bits else b""))


def chunks(data):
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
