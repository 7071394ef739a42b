"""docs/protocol.md, "Keys": seeds, sealed boxes, masks."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from encoding import canonical
from ristretto255 import BASE, L, encode, multiply, scalar_bytes


def public(secret):
    return encode(multiply(secret, BASE))


def agreed(own, peer):
    """The encoding of own·(peer·B), from both secrets."""
    return public(own * peer % L)


def derive(ctx2, secret, info):
    return HKDF(algorithm=SHA256(), length=32, salt=ctx2, info=info).derive(secret)


def pair_info(u, v):
    return canonical("consort/aggregation/pair-mask/v1", min(u, v), max(u, v))


def self_info(u):
    return canonical("consort/aggregation/self-mask/v1", u)


def sealing_info(sender, to):
    return canonical("consort/aggregation/share-encryption/v1", sender, to)


def self_seed(ctx2, secret, u):
    return derive(ctx2, scalar_bytes(secret), self_info(u))


def box_aad(ctx2, sender, to):
    return canonical("consort/aggregation/share-box/v1", ctx2, sender, to)


def seal(key, ctx2, sender, to, plain):
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, box_aad(ctx2, sender, to))


def mask(seed, first, count, width):
    """Elements first .. first + count of a mask."""
    size = (width + 7) // 8
    start, stop = first * size, (first + count) * size
    block = start // 16
    cipher = Cipher(algorithms.AES(seed), modes.CTR(block.to_bytes(16, "big"))).encryptor()
    stream = cipher.update(bytes(stop - 16 * block))[start - 16 * block :]
    return [int.from_bytes(stream[i : i + size], "little") % 2**width for i in range(0, len(stream), size)]


def polynomial(coefficients, x):
    return sum(a * pow(x, k, L) for k, a in enumerate(coefficients)) % L
