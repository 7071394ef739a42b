"""What a job costs, the exact discrete Gaussian, and a ledger that is on disk before anything leaves."""

import json
import math
import os
import secrets


def gaussian_delta(mu, epsilon):
    """δ of the Gaussian mechanism of sensitivity over deviation mu (Balle and Wang 2018, theorem 8)."""
    phi = lambda x: math.erfc(-x / math.sqrt(2)) / 2
    return phi(mu / 2 - epsilon / mu) - math.exp(epsilon) * phi(-mu / 2 - epsilon / mu)


def gaussian_epsilon(mu, delta):
    """The least epsilon for this δ, by bisection."""
    if mu == 0:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(mu, high) > delta:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(mu, middle) > delta else (low, middle)
    return high


def _bernoulli_exp(numerator, denominator):
    """True with probability exp(-numerator/denominator) (Canonne, Kamath and Steinke 2020, algorithm 1)."""
    while numerator > denominator:
        if not _bernoulli_exp(1, 1):
            return False
        numerator -= denominator
    k = 1
    while secrets.randbelow(denominator * k) < numerator:
        k += 1
    return k % 2 == 1


def _discrete_laplace(scale):
    """Algorithm 2 with s = 1."""
    while True:
        remainder = secrets.randbelow(scale)
        if not _bernoulli_exp(remainder, scale):
            continue
        turns = 0
        while _bernoulli_exp(1, 1):
            turns += 1
        magnitude, negative = remainder + scale * turns, secrets.randbelow(2) == 1
        if not (negative and magnitude == 0):
            return -magnitude if negative else magnitude


def discrete_gaussian(variance):
    """An integer with probability proportional to exp(-x²/(2·variance)), exactly (algorithm 3)."""
    scale = math.isqrt(variance) + 1
    while True:
        candidate = _discrete_laplace(scale)
        # (|Y| - variance/t)² / (2·variance) = (|Y|·t - variance)² / (2·t²·variance)
        if _bernoulli_exp((abs(candidate) * scale - variance) ** 2, 2 * scale * scale * variance):
            return candidate


class Ledger:
    """One line for each debit of one data set. A debit is never given back, and a round of a job is paid once."""

    def __init__(self, path):
        self.path = path
        self.debits = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.debits = [json.loads(line) for line in file]

    def sequence(self):
        return len(self.debits)

    def mu(self, dataset):
        """Rounds of full batches compose by the sum of the squares."""
        return math.sqrt(sum((1 / d["sigma"]) ** 2 for d in self.debits if d["dataset"] == dataset))

    def allows(self, dataset, sigma, rounds, epsilon, delta):
        after = math.hypot(self.mu(dataset), math.sqrt(rounds) / sigma)
        return gaussian_epsilon(after, delta) <= epsilon

    def is_spent(self, job, round_number):
        return any((d["job"], d["round"]) == (job, round_number) for d in self.debits)

    def pay(self, dataset, job, round_number, attempt, sigma):
        """Durable when it returns. Another attempt at a round that was paid for is not paid again, it is refused."""
        if self.is_spent(job, round_number):
            raise RuntimeError("this round is spent")
        debit = {"dataset": dataset, "job": job, "round": round_number, "attempt": attempt, "sigma": sigma}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(debit) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.debits.append(debit)
