"""Checks an inclusion proof with nothing of ringfence: RFC 6962, RFC 8032, C2SP signed note.

Standard input: {"leaf": …, "proof": "…", "vkey": "…"}. Exit code 0 if the leaf is proved, else 1.
"""

import base64
import hashlib
import json
import sys

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


class Refused(Exception):
    """Why the proof does not hold."""


def need(holds, why):
    if not holds:
        raise Refused(why)


def add(a, b):
    """Adds two points of the twisted Edwards curve, affine."""
    (x1, y1), (x2, y2) = a, b
    cross = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, P - 2, P) % P
    return x, y


def times(n, point):
    total = (0, 1)
    while n:
        if n & 1:
            total = add(total, point)
        point = add(point, point)
        n >>= 1
    return total


def decoded(octets):
    """A point from its 32 octets: y, and the parity of x in the highest bit."""
    number = int.from_bytes(octets, "little")
    odd, y = number >> 255, number & (2**255 - 1)
    need(y < P, "a point out of range")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    need(x * x % P == square, "not a point")
    return (P - x if x & 1 != odd else x), y


def check_signature(key, text, signature):
    base = decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    need(s < ORDER, "a signature out of range")
    k = int.from_bytes(hashlib.sha512(r + key + text).digest(), "little") % ORDER
    need(times(s, base) == add(decoded(r), times(k, decoded(key))), "the signature is wrong")


def sha256(octets):
    return hashlib.sha256(octets).digest()


def check_path(leaf, index, size, path, root):
    """RFC 9162, section 2.1.3.2."""
    need(index < size, "the index is not in the tree")
    first, last, value = index, size - 1, sha256(b"\x00" + leaf)
    for sibling in path:
        need(last > 0, "the path is too long")
        if first & 1 or first == last:
            value = sha256(b"\x01" + sibling + value)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            value = sha256(b"\x01" + value + sibling)
        first, last = first >> 1, last >> 1
    need(last == 0, "the path is too short")
    need(value == root, "the path leads to another root")


def check(leaf, proof, vkey):
    head, checkpoint = proof.split("\n\n", 1)
    title, index, *path = head.split("\n")
    need(title == "c2sp.org/tlog-proof@v1", "another title")
    text, signatures = checkpoint.split("\n\n", 1)
    text += "\n"
    name, key_id, key = vkey.split("+", 2)
    algorithm, *key = base64.b64decode(key)
    key = bytes(key)
    need(algorithm == 1, "not an Ed25519 key")
    need(sha256(f"{name}\n".encode() + b"\x01" + key)[:4].hex() == key_id, "a wrong key id")
    mine = [line for line in signatures.splitlines() if line.startswith(f"\u2014 {name} ")]
    lines = [base64.b64decode(line.rsplit(" ", 1)[1]) for line in mine]
    lines = [line for line in lines if line[:4].hex() == key_id]
    need(len(lines) == 1, "no signature of this key")
    signature = lines[0]
    check_signature(key, text.encode(), signature[4:])
    origin, size, root = text.splitlines()[:3]
    need(origin == name, "a checkpoint of another log")
    octets = json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    path = [base64.b64decode(line) for line in path]
    check_path(octets, int(index.removeprefix("index ")), int(size), path, base64.b64decode(root))


if __name__ == "__main__":
    try:
        check(**json.load(sys.stdin))
    except Refused as why:
        print(why, file=sys.stderr)
        sys.exit(1)
