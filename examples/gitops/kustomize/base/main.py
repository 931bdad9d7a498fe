import sys

limit = int(sys.argv[1])
sieve = bytearray([1]) * (limit + 1)
sieve[:2] = b"\0\0"
for n in range(2, int(limit**0.5) + 1):
    if sieve[n]:
        sieve[n * n :: n] = bytes(len(sieve[n * n :: n]))
print(sum(sieve), "primes up to", limit)
