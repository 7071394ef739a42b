#!/usr/bin/env python3
"""Writes the known answers of this crate, computed independently of it with Python's standard library alone.

    python3 aggregation/vectors/reference.py > aggregation/vectors/round.txt

Each line is `name = hex`. ristretto255 follows RFC 9496, HKDF RFC 5869, ChaCha20-Poly1305 RFC 8439, AES FIPS 197,
CTR SP 800-38A, the Merkle tree RFC 6962. Each primitive is checked against a published answer before it is used.
Nothing here is constant time or fast: it is a reference, not an implementation to use.
"""

import hashlib
import hmac
import struct

# --- ristretto255 (RFC 9496) ---------------------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
BASE_Y = 4 * pow(5, P - 2, P) % P


def negative(x):
    return x % P & 1


def sqrt_ratio_m1(u, v):
    """RFC 9496 section 3.1.3.1."""
    r = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    check = v * r * r % P
    correct, flipped, flipped_i = check == u % P, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, (P - r if negative(r) else r)


INVSQRT_A_MINUS_D = sqrt_ratio_m1(1, (-1 - D) % P)[1]


def recover_x(y):
    """The non-negative x on -x^2 + y^2 = 1 + d x^2 y^2."""
    square, x = sqrt_ratio_m1(y * y - 1, D * y * y + 1)
    assert square
    return x


BASE = (recover_x(BASE_Y), BASE_Y)


def add(p, q):
    """Affine addition on the twisted Edwards curve, RFC 8032 section 5.1.4."""
    (x1, y1), (x2, y2) = p, q
    k = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P)
    return x % P, y % P


def multiply(scalar, point):
    result = (0, 1)
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def encode_point(point):
    """RFC 9496 section 4.3.2, with z = 1."""
    x0, y0 = point
    z0, t0 = 1, x0 * y0 % P
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    _, invsqrt = sqrt_ratio_m1(1, u1 * u2 * u2 % P)
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if negative(t0 * z_inv):
        x, y, den_inv = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den_inv = x0, y0, den2
    if negative(x * z_inv):
        y = -y % P
    s = den_inv * (z0 - y) % P
    return (P - s if negative(s) else s).to_bytes(32, "little")


assert encode_point(BASE).hex() == "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
assert encode_point(multiply(7, BASE)).hex() == "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d"


def scalar_bytes(scalar):
    return (scalar % L).to_bytes(32, "little")


# --- HKDF-SHA256 (RFC 5869), one block ------------------------------------------------------------------------------


def hkdf(salt, ikm, info):
    extracted = hmac.new(salt, ikm, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


# RFC 5869 A.1, first 32 bytes.
assert hkdf(bytes(range(13)), b"\x0b" * 22, bytes(range(0xF0, 0xFA))).hex().startswith("3cb25f25faacd57a90434f64d0362f2a")

# --- AES-256 in counter mode (FIPS 197, SP 800-38A) -------------------------------------------------------------------


def xtime(a):
    return (a << 1) ^ (0x11B if a & 0x80 else 0)


def gf_multiply(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = xtime(a), b >> 1
    return product


def substitute(byte):
    inverse = next((b for b in range(256) if gf_multiply(byte, b) == 1), 0)
    rotations = [(inverse << k | inverse >> (8 - k)) & 0xFF for k in range(5)]
    return rotations[0] ^ rotations[1] ^ rotations[2] ^ rotations[3] ^ rotations[4] ^ 0x63


SBOX = [substitute(byte) for byte in range(256)]


def expand_key(key):
    words, rcon = [list(key[i : i + 4]) for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def aes256(keys, block):
    state = [a ^ b for a, b in zip(block, keys[0])]
    for round_number in range(1, 15):
        state = [SBOX[b] for b in state]
        state = [state[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if round_number < 14:
            mixed = []
            for c in range(0, 16, 4):
                column = state[c : c + 4]
                for i in range(4):
                    a, b, x, y = (column[(i + k) % 4] for k in range(4))
                    mixed.append(xtime(a) ^ xtime(b) ^ b ^ x ^ y)
            state = mixed
        state = [a ^ b for a, b in zip(state, keys[round_number])]
    return bytes(state)


# FIPS 197 appendix C.3.
assert aes256(expand_key(bytes(range(32))), bytes.fromhex("00112233445566778899aabbccddeeff")).hex() == "8ea2b7ca516745bfeafc49904b496089"


def mask_words(seed, elements, width):
    keys, size = expand_key(seed), 4 if width <= 32 else 8
    blocks = -(-elements * size // 16)
    stream = b"".join(aes256(keys, counter.to_bytes(16, "big")) for counter in range(blocks))
    return [int.from_bytes(stream[i * size : (i + 1) * size], "little") % 2**width for i in range(elements)]


# --- ChaCha20-Poly1305 (RFC 8439) ------------------------------------------------------------------------------------


def chacha20_block(key, counter, nonce):
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    working = list(state)

    def quarter(a, b, c, d):
        for x, y, z, rotation in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            working[x] = (working[x] + working[y]) & 0xFFFFFFFF
            word = working[z] ^ working[x]
            working[z] = (word << rotation | word >> (32 - rotation)) & 0xFFFFFFFF

    for _ in range(10):
        for i in range(4):
            quarter(i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(state, working)))


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    accumulator = 0
    for i in range(0, len(message), 16):
        accumulator = (accumulator + int.from_bytes(message[i : i + 16] + b"\x01", "little")) * r % (2**130 - 5)
    return ((accumulator + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def seal(key, nonce, plain, aad):
    stream = b"".join(chacha20_block(key, 1 + i, nonce) for i in range(-(-len(plain) // 64)))
    cipher = bytes(a ^ b for a, b in zip(plain, stream))
    pad = lambda data: data + bytes(-len(data) % 16)
    lengths = struct.pack("<QQ", len(aad), len(cipher))
    return cipher + poly1305(chacha20_block(key, 0, nonce)[:32], pad(aad) + pad(cipher) + lengths)


# RFC 8439 section 2.8.2.
assert seal(
    bytes(range(0x80, 0xA0)),
    bytes.fromhex("070000004041424344454647"),
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
)[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"

# --- the crate's own constructions -----------------------------------------------------------------------------------

CHUNK_BYTES = 256 * 1024


def canonical(label, *parts):
    encoded = b""
    for part in (label,) + parts:
        if isinstance(part, int):
            part = part.to_bytes(8, "big")
        elif isinstance(part, str):
            part = part.encode()
        encoded += len(part).to_bytes(4, "big") + part
    return encoded


def sha256(data):
    return hashlib.sha256(data).digest()


def tree_hash(chunks):
    """RFC 6962 section 2.1, as it is defined there."""
    if not chunks:
        return sha256(b"")
    if len(chunks) == 1:
        return sha256(b"\x00" + chunks[0])
    split = 1
    while 2 * split < len(chunks):
        split *= 2
    return sha256(b"\x01" + tree_hash(chunks[:split]) + tree_hash(chunks[split:]))


def packed(elements, width):
    stream = sum((element % 2**width) << (i * width) for i, element in enumerate(elements))
    return stream.to_bytes(-(-len(elements) * width // 8), "little")


def chunked(data):
    return [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]


def schema_hash(elements, width):
    return sha256(canonical("consort/aggregation/vector-schema/v1", elements, width))


def secret(name):
    """A scalar that anybody can derive again."""
    return int.from_bytes(hashlib.sha512(name.encode()).digest(), "little") % L


def emit(name, value):
    print(f"{name} = {value.hex()}")


def main():
    context, advert_root = sha256(b"context"), sha256(b"adverts")
    ctx2 = sha256(canonical("consort/aggregation/round-keys/v1", context, advert_root))
    emit("context", context)
    emit("advert_root", advert_root)
    emit("round_key_context", ctx2)

    mask_keys = {u: secret(f"mask key {u}") for u in (1, 2, 3)}
    share_keys = {u: secret(f"share key {u}") for u in (1, 2)}
    self_mask = secret("self mask 2")
    for u, key in mask_keys.items():
        emit(f"mask_key_{u}", scalar_bytes(key))
        emit(f"mask_public_{u}", encode_point(multiply(key, BASE)))
    for u, key in share_keys.items():
        emit(f"share_key_{u}", scalar_bytes(key))
        emit(f"share_public_{u}", encode_point(multiply(key, BASE)))
    emit("self_mask_2", scalar_bytes(self_mask))

    def pair_seed(u, v):
        agreed = encode_point(multiply(mask_keys[u] * mask_keys[v] % L, BASE))
        return hkdf(ctx2, agreed, canonical("consort/aggregation/pair-mask/v1", min(u, v), max(u, v)))

    seed_21, seed_23 = pair_seed(2, 1), pair_seed(2, 3)
    self_seed = hkdf(ctx2, scalar_bytes(self_mask), canonical("consort/aggregation/self-mask/v1", 2))
    emit("pair_seed_2_1", seed_21)
    emit("pair_seed_2_3", seed_23)
    emit("self_seed_2", self_seed)

    # Members 1 to 12 on the circle of a sparse graph, in the order of their seats, one byte each.
    seat = lambda u: sha256(canonical("consort/aggregation/seat/v1", ctx2, u))
    emit("seats", bytes(sorted(range(1, 13), key=seat)))

    # Member 1 shares its mask key among members 1, 2, 3 with threshold 2, and seals for member 2.
    coefficients = [mask_keys[1], secret("coefficient")]
    shares = {x: (coefficients[0] + coefficients[1] * x) % L for x in (1, 2, 3)}
    emit("commitments", b"".join(encode_point(multiply(c, BASE)) for c in coefficients))
    for x, share in shares.items():
        emit(f"share_{x}", scalar_bytes(share))
    other = secret("share of a self mask")
    emit("share_of_self_mask", scalar_bytes(other))
    agreed = encode_point(multiply(share_keys[1] * share_keys[2] % L, BASE))
    key = hkdf(ctx2, agreed, canonical("consort/aggregation/share-encryption/v1", 1, 2))
    aad = canonical("consort/aggregation/share-box/v1", ctx2, 1, 2)
    emit("sealed_1_2", seal(key, bytes(12), scalar_bytes(shares[2]) + scalar_bytes(other), aad))

    # Member 2 masks the integers -18, ..., 18: one ring with 32-bit words, one with 64-bit words.
    integers = list(range(-18, 19))
    for width in (21, 45):
        n = len(integers)
        emit(f"schema_hash_{width}", schema_hash(n, width))
        masks = [mask_words(seed, n, width) for seed in (self_seed, seed_21, seed_23)]
        masked = packed([x + b - s1 + s3 for x, b, s1, s3 in zip(integers, *masks)], width)
        emit(f"masked_{width}", masked)
        emit(f"masked_tree_hash_{width}", tree_hash(chunked(masked)))
        root = tree_hash(chunked(packed(integers, width)))
        emit(f"sum_digest_{width}", sha256(canonical("consort/aggregation/sum/v1", schema_hash(n, width), root)))


main()
