"""ristretto255 (RFC 9496) in Python integers: a reference that is slow and not constant time."""

import functools

P = 2**255 - 19
# The order of the group.
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
BASE_Y = 4 * pow(5, -1, P) % P


def negative(x):
    return x % P & 1


def sqrt_ratio_m1(u, v):
    """Section 4.2."""
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


# Extended coordinates (X : Y : Z : T) with x = X/Z, y = Y/Z, x·y = T/Z.
NEUTRAL = (0, 1, 1, 0)
BASE = (recover_x(BASE_Y), BASE_Y, 1, recover_x(BASE_Y) * BASE_Y % P)


def add(p, q):
    """RFC 8032 section 5.1.4; it holds for two equal points too."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = p, q
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = t1 * 2 * D * t2 % P, z1 * 2 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


@functools.lru_cache(maxsize=4)
def windows(point):
    """i·16^k·point for each four bits of a scalar."""
    tables = []
    for _ in range(64):
        row = [NEUTRAL]
        for _ in range(15):
            row.append(add(row[-1], point))
        tables.append(row)
        point = add(row[-1], point)
    return tables


def multiply(scalar, point):
    result, scalar = NEUTRAL, scalar % L
    for k, row in enumerate(windows(point)):
        result = add(result, row[scalar >> (4 * k) & 15])
    return result


def encode(point):
    """Section 4.3.2."""
    x0, y0, z0, t0 = point
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


def scalar_bytes(scalar):
    return (scalar % L).to_bytes(32, "little")


# Appendix A.1, multiples 1 and 7 of the generator.
assert encode(BASE).hex() == "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
assert encode(multiply(7, BASE)).hex() == "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d"
