"""Keys, shares, sealed boxes and masks (docs/protocol.md, "Keys")."""

import hashlib
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from encoding import canonical
from ristretto import BASE, ORDER, Point


def random_scalar():
    return 1 + secrets.randbelow(ORDER - 1)


def scalar_bytes(scalar):
    return scalar.to_bytes(32, "little")


def read_scalar(encoded):
    scalar = int.from_bytes(encoded, "little")
    if len(encoded) != 32 or scalar >= ORDER:
        raise ValueError("not a canonical scalar")
    return scalar


def _hkdf(context2, secret, info):
    return HKDF(algorithm=SHA256(), length=32, salt=context2, info=info).derive(secret)


def pair_mask_seed(context2, own_secret, peer_key, own, peer):
    agreed = (own_secret * Point.decode(peer_key)).encode()
    info = canonical("consort/aggregation/pair-mask/v1", min(own, peer), max(own, peer))
    return _hkdf(context2, agreed, info)


def self_mask_seed(context2, secret, own):
    return _hkdf(context2, scalar_bytes(secret), canonical("consort/aggregation/self-mask/v1", own))


def mask_words(seed, elements, width):
    """AES-256-CTR from a zero counter, read as little-endian words of whole bytes and reduced to `width` bits."""
    size = (width + 7) // 8
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(elements * size))
    kept = (1 << width) - 1
    return [int.from_bytes(stream[i : i + size], "little") & kept for i in range(0, elements * size, size)]


def split(secret, threshold, members):
    """Shamir's sharing modulo the order, with Feldman's commitments: commitments, and each member's share."""
    coefficients = [secret] + [random_scalar() for _ in range(threshold - 1)]
    commitments = b"".join((c * BASE).encode() for c in coefficients)
    shares = {}
    for x in members:
        share = 0
        for coefficient in reversed(coefficients):
            share = (share * x + coefficient) % ORDER
        shares[x] = share
    return commitments, shares


def lies_on(commitments, x, share):
    """Whether share·B is the committed polynomial at x (Feldman 1987)."""
    points = [Point.decode(commitments[i : i + 32]) for i in range(0, len(commitments), 32)]
    expected = points[-1]
    for point in reversed(points[:-1]):
        expected = x * expected + point
    return share * BASE == expected


def _box(context2, own_secret, peer_key, sender, receiver):
    agreed = (own_secret * Point.decode(peer_key)).encode()
    key = _hkdf(context2, agreed, canonical("consort/aggregation/share-encryption/v1", sender, receiver))
    return ChaCha20Poly1305(key), canonical("consort/aggregation/share-box/v1", context2, sender, receiver)


def seal_shares(context2, own_secret, peer_key, sender, receiver, of_mask_key, of_self_mask):
    box, bound_to = _box(context2, own_secret, peer_key, sender, receiver)
    return box.encrypt(bytes(12), scalar_bytes(of_mask_key) + scalar_bytes(of_self_mask), bound_to)


def open_shares(context2, own_secret, peer_key, sender, receiver, sealed):
    box, bound_to = _box(context2, own_secret, peer_key, sender, receiver)
    plain = box.decrypt(bytes(12), sealed, bound_to)
    return read_scalar(plain[:32]), read_scalar(plain[32:])


def reveal(context2, own_secret, peer_key):
    """The point on which both share keys agree, and a proof that it is that point (Chaum and Pedersen 1992)."""
    peer, nonce = Point.decode(peer_key), random_scalar()
    point = (own_secret * peer).encode()
    commitments = [(nonce * BASE).encode(), (nonce * peer).encode()]
    transcript = canonical(
        "consort/aggregation/revealed-agreement/v1", context2, (own_secret * BASE).encode(), peer_key, point, *commitments
    )
    digest = hashlib.sha512(hashlib.sha256(transcript).digest()).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    response = (nonce + challenge * own_secret) % ORDER
    return point + scalar_bytes(challenge) + scalar_bytes(response)
