"""ristretto255 (RFC 9496) in Python integers. Not constant time: for a demonstration, not for keys that matter."""

P = 2**255 - 19
# The order of the group.
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def _negative(x):
    return x & 1 == 1


def _abs(x):
    return P - x if _negative(x) else x


def _sqrt_ratio_m1(u, v):
    """Section 4.2."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    u %= P
    correct, flipped = check == u, check == P - u
    if flipped or check == (P - u) * SQRT_M1 % P:
        r = r * SQRT_M1 % P
    return correct or flipped, _abs(r)


INVSQRT_A_MINUS_D = _sqrt_ratio_m1(1, -1 - D)[1]


class Point:
    """An element, in extended coordinates."""

    def __init__(self, x, y, z, t):
        self.x, self.y, self.z, self.t = x, y, z, t

    @classmethod
    def decode(cls, encoded):
        """Section 4.3.1. Refuses what is not canonical, and the identity."""
        s = int.from_bytes(encoded, "little")
        if len(encoded) != 32 or s >= P or _negative(s):
            raise ValueError("not a canonical ristretto255 encoding")
        u1, u2 = (1 - s * s) % P, (1 + s * s) % P
        v = (-D * u1 * u1 - u2 * u2) % P
        square, invsqrt = _sqrt_ratio_m1(1, v * u2 * u2 % P)
        den_x = invsqrt * u2 % P
        x = _abs(2 * s * den_x % P)
        y = u1 * invsqrt * den_x * v % P
        t = x * y % P
        if not square or _negative(t) or y == 0:
            raise ValueError("not a canonical ristretto255 encoding")
        if s == 0:
            raise ValueError("the identity is no key")
        return cls(x, y, 1, t)

    def encode(self):
        """Section 4.3.2."""
        u1, u2 = (self.z + self.y) * (self.z - self.y) % P, self.x * self.y % P
        _, invsqrt = _sqrt_ratio_m1(1, u1 * u2 * u2 % P)
        den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
        z_inv = den1 * den2 * self.t % P
        if _negative(self.t * z_inv % P):
            x, y, den_inv = self.y * SQRT_M1 % P, self.x * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
        else:
            x, y, den_inv = self.x, self.y, den2
        if _negative(x * z_inv % P):
            y = P - y
        return _abs(den_inv * (self.z - y) % P).to_bytes(32, "little")

    def __add__(self, other):
        """RFC 8032 section 5.1.4."""
        a = (self.y - self.x) * (other.y - other.x) % P
        b = (self.y + self.x) * (other.y + other.x) % P
        c = 2 * self.t * other.t * D % P
        d = 2 * self.z * other.z % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return Point(e * f % P, g * h % P, f * g % P, e * h % P)

    def _double(self):
        a, b = self.x * self.x, self.y * self.y
        c = 2 * self.z * self.z
        h = a + b
        e = h - (self.x + self.y) ** 2
        g = a - b
        f = c + g
        return Point(e * f % P, g * h % P, f * g % P, e * h % P)

    def __rmul__(self, scalar):
        result = Point(0, 1, 1, 0)
        for bit in bin(scalar % ORDER)[2:]:
            result = result._double()
            if bit == "1":
                result += self
        return result

    def __eq__(self, other):
        """Section 4.5."""
        return (self.x * other.y - self.y * other.x) % P == 0 or (self.y * other.y - self.x * other.x) % P == 0


def _base():
    """The base point of edwards25519, of which section 4.4 makes the generator."""
    y = 4 * pow(5, -1, P) % P
    square, x = _sqrt_ratio_m1(y * y - 1, D * y * y + 1)
    assert square
    return Point(x, y, 1, x * y % P)


BASE = _base()

# Appendix A.1 of RFC 9496, multiples 1 and 7 of the generator.
assert BASE.encode().hex() == "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
assert (7 * BASE).encode().hex() == "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d"
assert Point.decode((7 * BASE).encode()) == 3 * BASE + 4 * BASE
