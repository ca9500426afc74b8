#!/usr/bin/env python3
"""Verifies a copied log of ringfence, or any other C2SP tlog-tiles log, from its files alone.

It needs Python 3.9 or newer, nothing else, and shares no code with ringfence: hashes come from
hashlib, signatures are verified by the arithmetic below. What it recomputes is everything: the
leaf hashes from the entry bundles, every tile from them, the root, and that root is compared with
the signed checkpoint.

    verify_log.py DIR --vkey KEY [--vkey KEY ...] [--since CHECKPOINT] [--json]
    verify_log.py --proof FILE --leaf FILE --vkey KEY [--vkey KEY ...] [--json]

Every key that is named must have signed. Exit code 0: it holds. 1: it is refused, and why. 2: this
program could not look.

Formats: c2sp.org/signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature, tlog-proof; RFC 6962
section 2.1, RFC 8032 section 5.1, FIPS 204.
"""

import argparse
import base64
import binascii
import hashlib
import json
import os
import re
import stat
import sys

# LIMITS: what is read of one file of each kind.
NOTE_BYTES_MAX = 1 << 20
SIGNATURES_MAX = 64
PROOF_HASHES_MAX = 63
BUNDLE_BYTES_MAX = 256 * (2 + 65535)
TILE_WIDTH = 256
HASH_BYTES = 32
SIZE_MAX = (1 << 63) - 1


class Refused(Exception):
    """What was looked at does not hold."""


class Broken(Exception):
    """What was asked for could not be looked at."""


# --- Ed25519 (RFC 8032, section 5.1) ---------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def point_decompress(octets):
    """A point in extended coordinates; None unless the encoding is the canonical one."""
    y = int.from_bytes(octets, "little")
    sign = y >> 255
    y &= (1 << 255) - 1
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P != 0:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P != 0:
        return None
    if x == 0 and sign == 1:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def point_add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        scalar >>= 1
    return result


def point_equal(p, q):
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = point_decompress(BASE_Y.to_bytes(32, "little"))
NEUTRAL = (0, 1, 1, 0)


def ed25519_verify(public, signature, message):
    """Strict: canonical points, S below L, no key of small order, and no cofactor."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a = point_decompress(public)
    r = point_decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    if point_equal(point_multiply(8, a), NEUTRAL):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    return point_equal(point_multiply(s, BASE), point_add(r, point_multiply(k, a)))


# --- ML-DSA-44 (FIPS 204) --------------------------------------------------------------------

Q = 8380417
N = 256
DROPPED_BITS = 13
TAU = 39
GAMMA1 = 1 << 17
GAMMA2 = (Q - 1) // 88
ROWS = 4
COLUMNS = 4
BETA = 78
OMEGA = 80
C_BYTES = 32
Z_BYTES = 576
T1_BYTES = 320
MLDSA_PUBLIC_BYTES = 32 + ROWS * T1_BYTES
MLDSA_SIGNATURE_BYTES = C_BYTES + COLUMNS * Z_BYTES + OMEGA + ROWS


def reversed_bits(number):
    return int(format(number, "08b")[::-1], 2)


ZETAS = [pow(1753, reversed_bits(i), Q) for i in range(N)]


def ntt(polynomial):
    """Algorithm 41."""
    w, m, length = list(polynomial), 0, 128
    while length >= 1:
        for start in range(0, N, 2 * length):
            m += 1
            for j in range(start, start + length):
                t = ZETAS[m] * w[j + length] % Q
                w[j + length] = (w[j] - t) % Q
                w[j] = (w[j] + t) % Q
        length //= 2
    return w


def ntt_inverse(polynomial):
    """Algorithm 42."""
    w, m, length = list(polynomial), N, 1
    while length < N:
        for start in range(0, N, 2 * length):
            m -= 1
            for j in range(start, start + length):
                t = w[j]
                w[j] = (t + w[j + length]) % Q
                w[j + length] = (Q - ZETAS[m]) * (t - w[j + length]) % Q
        length *= 2
    return [8347681 * c % Q for c in w]


def unpacked(octets, bits):
    number = int.from_bytes(octets, "little")
    mask = (1 << bits) - 1
    return [(number >> (bits * i)) & mask for i in range(N)]


def rejected_ntt(seed):
    """Algorithm 30: one entry of the matrix A."""
    found, wanted = [], 1024
    while True:
        stream = hashlib.shake_128(seed).digest(wanted)
        found = []
        for i in range(0, wanted - 2, 3):
            c = stream[i] | stream[i + 1] << 8 | (stream[i + 2] & 127) << 16
            if c < Q:
                found.append(c)
                if len(found) == N:
                    return found
        wanted *= 2


def sampled_ball(seed):
    """Algorithm 29: TAU coefficients of 1 or -1."""
    stream = hashlib.shake_256(seed).digest(4096)
    signs = int.from_bytes(stream[:8], "little")
    c, at = [0] * N, 8
    for i in range(N - TAU, N):
        while stream[at] > i:
            at += 1
        j = stream[at]
        at += 1
        c[i] = c[j]
        c[j] = 1 if signs & 1 == 0 else Q - 1
        signs >>= 1
    return c


def unpacked_hint(octets):
    """Algorithm 21; None when the encoding is not the one canonical one."""
    hint, index = [[0] * N for _ in range(ROWS)], 0
    for i in range(ROWS):
        end = octets[OMEGA + i]
        if end < index or end > OMEGA:
            return None
        first = index
        while index < end:
            if index > first and octets[index - 1] >= octets[index]:
                return None
            hint[i][octets[index]] = 1
            index += 1
    if any(octets[index:OMEGA]):
        return None
    return hint


def high_bits_with_hint(hint, r):
    """Algorithm 40, UseHint, with Algorithm 36, Decompose."""
    low = r % (2 * GAMMA2)
    if low > GAMMA2:
        low -= 2 * GAMMA2
    if r - low == Q - 1:
        high, low = 0, low - 1
    else:
        high = (r - low) // (2 * GAMMA2)
    if not hint:
        return high
    return (high + 1) % 44 if low > 0 else (high - 1) % 44


def mldsa44_verify(public, signature, message, context=b""):
    """Algorithm 3 and Algorithm 8."""
    if len(public) != MLDSA_PUBLIC_BYTES or len(signature) != MLDSA_SIGNATURE_BYTES:
        return False
    rho = public[:32]
    t1 = [unpacked(public[32 + T1_BYTES * i:32 + T1_BYTES * (i + 1)], 10) for i in range(ROWS)]
    c_tilde = signature[:C_BYTES]
    z = []
    for i in range(COLUMNS):
        at = C_BYTES + Z_BYTES * i
        z.append([GAMMA1 - c for c in unpacked(signature[at:at + Z_BYTES], 18)])
    hint = unpacked_hint(signature[C_BYTES + COLUMNS * Z_BYTES:])
    if hint is None or any(abs(c) >= GAMMA1 - BETA for row in z for c in row):
        return False
    tr = hashlib.shake_256(public).digest(64)
    formatted = bytes([0, len(context)]) + context + message
    mu = hashlib.shake_256(tr + formatted).digest(64)
    c_hat = ntt(sampled_ball(c_tilde))
    z_hat = [ntt([c % Q for c in row]) for row in z]
    packed = b""
    for i in range(ROWS):
        t1_hat = ntt([c << DROPPED_BITS for c in t1[i]])
        total = [-a * b % Q for a, b in zip(c_hat, t1_hat)]
        for j in range(COLUMNS):
            a_hat = rejected_ntt(rho + bytes([j, i]))
            total = [(s + a * b) % Q for s, a, b in zip(total, a_hat, z_hat[j])]
        w = ntt_inverse(total)
        number = 0
        for k in range(N):
            number |= high_bits_with_hint(hint[i][k], w[k]) << (6 * k)
        packed += number.to_bytes(192, "little")
    return hashlib.shake_256(mu + packed).digest(C_BYTES) == c_tilde


# --- signed notes and checkpoints ------------------------------------------------------------


def strict_base64(text, what):
    """The octets; refuses any other spelling than the one canonical one."""
    try:
        octets = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise Refused(f"{what}: not base64") from None
    if base64.b64encode(octets).decode() != text:
        raise Refused(f"{what}: not canonical base64")
    return octets


def decimal(text, what):
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text, re.ASCII) or int(text) > SIZE_MAX:
        raise Refused(f"{what}: not a number as it is written: {text[:40]!r}")
    return int(text)


def key_name_is_good(name):
    return name != "" and "+" not in name and not any(c.isspace() or c < " " for c in name)


class VerifierKey:
    """`<name>+<id>+<base64(type || key)>`."""

    LENGTHS = {0x01: 32, 0x04: 32, 0x06: MLDSA_PUBLIC_BYTES}

    def __init__(self, text):
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise Broken("a verifier key is NAME+ID+KEY")
        self.name, shown, encoded = parts
        try:
            octets = strict_base64(encoded, "verifier key")
        except Refused as refusal:
            raise Broken(str(refusal)) from None
        if not key_name_is_good(self.name) or not octets:
            raise Broken("verifier key: no name or no key")
        self.kind, self.public = octets[0], octets[1:]
        if self.LENGTHS.get(self.kind) != len(self.public):
            raise Broken(f"verifier key {self.name}: type {self.kind:#04x} is not known")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + octets).digest()[:4]
        if self.id.hex() != shown:
            raise Broken(f"verifier key {self.name}: its id is {self.id.hex()}, not {shown}")

    def verify(self, checkpoint, signature):
        if self.kind == 0x01:
            return ed25519_verify(self.public, signature, checkpoint.text)
        time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        if time > SIZE_MAX:
            return False
        if self.kind == 0x04:
            message = f"cosignature/v1\ntime {time}\n".encode() + checkpoint.text
            return ed25519_verify(self.public, signature, message)
        name, origin = self.name.encode(), checkpoint.origin.encode()
        if not 1 <= len(name) <= 255 or not 1 <= len(origin) <= 255:
            return False
        message = b"subtree/v1\n\0" + bytes([len(name)]) + name + time.to_bytes(8, "big")
        message += bytes([len(origin)]) + origin + (0).to_bytes(8, "big")
        message += checkpoint.size.to_bytes(8, "big") + checkpoint.root
        return mldsa44_verify(self.public, signature, message)


class Checkpoint:
    """A parsed checkpoint; nothing of it is to be trusted before `verify`."""

    def __init__(self, octets):
        if len(octets) > NOTE_BYTES_MAX:
            raise Refused("checkpoint: too long")
        try:
            text = octets.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("checkpoint: not UTF-8") from None
        if any(c < " " and c != "\n" for c in text):
            raise Refused("checkpoint: a control character")
        at = text.rfind("\n\n")
        if at < 0 or not text.endswith("\n"):
            raise Refused("checkpoint: not a signed note")
        self.text = text[:at + 1].encode()
        self.signatures = [self.line(line) for line in text[at + 2:-1].split("\n")]
        if len(self.signatures) > SIGNATURES_MAX:
            raise Refused("checkpoint: too many signatures")
        lines = text[:at].split("\n")
        if len(lines) < 3 or lines[0] == "":
            raise Refused("checkpoint: origin, size or root is missing")
        if any(line == "" for line in lines[3:]):
            raise Refused("checkpoint: an empty extension line")
        self.origin = lines[0]
        self.size = decimal(lines[1], "checkpoint size")
        self.root = strict_base64(lines[2], "checkpoint root")
        if len(self.root) != HASH_BYTES:
            raise Refused("checkpoint root: not 32 octets")

    @staticmethod
    def line(line):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or not key_name_is_good(parts[1]):
            raise Refused("checkpoint: a line that is no signature")
        octets = strict_base64(parts[2], "signature")
        if len(octets) < 5:
            raise Refused("signature: too short")
        return parts[1], octets[:4], octets[4:]

    def verify(self, keys):
        """Every key must have signed; no signature of one of them may be wrong."""
        for key in keys:
            own = [s for name, id_, s in self.signatures if (name, id_) == (key.name, key.id)]
            if not own:
                raise Refused(f"{key.name} (type {key.kind:#04x}) has not signed the checkpoint")
            if not all(key.verify(self, signature) for signature in own):
                raise Refused(f"the signature of {key.name} (type {key.kind:#04x}) is wrong")


# --- the tree (RFC 6962, section 2.1) --------------------------------------------------------


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Frontier:
    """The roots of the full subtrees of what was added so far, the largest first."""

    def __init__(self):
        self.size = 0
        self.nodes = []

    def add(self, node):
        """Adds a leaf hash."""
        self.size += 1
        rest = self.size
        while rest % 2 == 0:
            node = node_hash(self.nodes.pop(), node)
            rest //= 2
        self.nodes.append(node)

    def root(self):
        if not self.nodes:
            return hashlib.sha256(b"").digest()
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root


def root_of(hashes):
    frontier = Frontier()
    for node in hashes:
        frontier.add(node)
    return frontier.root()


def root_from_proof(index, size, leaf, path):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        raise Refused("proof: the index is beyond the tree")
    at, last, root = index, size - 1, leaf
    for node in path:
        if last == 0:
            raise Refused("proof: too many hashes")
        if at & 1 or at == last:
            root = node_hash(node, root)
            while at & 1 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, node)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise Refused("proof: too few hashes")
    return root


# --- the directory ---------------------------------------------------------------------------


def read(path, limit, what):
    """A regular file that is no link, whole."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Refused(f"{what} is missing") from None
    except OSError as error:
        raise Broken(f"{what}: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused(f"{what} is no regular file")
        octets = file.read(limit + 1)
    if len(octets) > limit:
        raise Refused(f"{what} is too long")
    return octets


def tile_path(level, number, width):
    """The path of a tile; level None is a bundle."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    first = "entries" if level is None else str(level)
    path = "/".join(["tile", first, *groups])
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


TILE = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


def parsed_path(path):
    """(level, number, width) of a path as the specification writes it; else None."""
    match = TILE.fullmatch(path)
    if match is None:
        return None
    first, groups, width = match.groups()
    number = int(groups.replace("x", "").replace("/", ""))
    level = None if first == "entries" else int(first)
    width = TILE_WIDTH if width is None else int(width)
    if level is not None and level > 63:
        return None
    return (level, number, width) if tile_path(level, number, width) == path else None


def entries_of(octets, width, what):
    """The entries of a bundle, which must hold exactly `width`."""
    entries, at = [], 0
    for _ in range(width):
        if at + 2 > len(octets):
            raise Refused(f"{what}: fewer than {width} entries")
        length = int.from_bytes(octets[at:at + 2], "big")
        at += 2
        if at + length > len(octets):
            raise Refused(f"{what}: an entry is cut off")
        entries.append(octets[at:at + length])
        at += length
    if at != len(octets):
        raise Refused(f"{what}: {len(octets) - at} octets after the last entry")
    return entries


def files_below(directory):
    """Every path below `tile/`, with `/` between its parts. Links and devices are refused."""
    found = []

    def failed(error):
        raise Broken(f"{error.filename}: {error.strerror}")

    top = os.path.join(directory, "tile")
    if not os.path.lexists(top):
        return found
    if os.path.islink(top):
        raise Refused("tile is a link")
    for folder, folders, files in os.walk(top, onerror=failed):
        for name in folders + files:
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, directory)
            mode = os.lstat(path).st_mode
            if name in files and stat.S_ISREG(mode):
                found.append(shown)
            elif not stat.S_ISDIR(mode):
                raise Refused(f"{shown} is neither a file nor a folder")
    return found


class Log:
    """A directory, its checkpoint, and what is recomputed of it."""

    def __init__(self, directory, checkpoint, since):
        self.directory = directory
        self.checkpoint = checkpoint
        self.since = since
        self.since_root = Frontier().root() if since and since.size == 0 else None
        self.full = {}
        self.required = 0
        self.superseded = 0

    def verify(self):
        """Streams over the bundles: memory does not grow with the log, but for the file list."""
        size = self.checkpoint.size
        partials = self.inventory()
        frontier, levels = Frontier(), []
        for number in range((size + TILE_WIDTH - 1) // TILE_WIDTH):
            width = min(TILE_WIDTH, size - number * TILE_WIDTH)
            hashes = self.bundle(number, width, partials.pop((None, number), []))
            for node in hashes:
                frontier.add(node)
                if self.since and frontier.size == self.since.size:
                    self.since_root = frontier.root()
            self.climb(0, hashes, levels, partials)
        for level, hashes in enumerate(levels):
            if hashes:
                number = (size >> (8 * (level + 1)))
                self.tile(level, number, hashes, partials)
        if partials:
            (level, number), widths = next(iter(partials.items()))
            raise Refused(f"{tile_path(level, number, widths[0])} is beyond the checkpoint")
        if frontier.root() != self.checkpoint.root:
            raise Refused("the root of the entries is not the root of the checkpoint")
        if self.since and self.since_root != self.since.root:
            raise Refused("the log is not an extension of the earlier checkpoint")

    def inventory(self):
        """Partial tiles by place; everything else must be a full tile within the checkpoint."""
        size, partials = self.checkpoint.size, {}
        for path in files_below(self.directory):
            place = parsed_path(path)
            if place is None:
                raise Refused(f"{path} is not a path of a log")
            level, number, width = place
            depth = 0 if level is None else level
            held = size >> (8 * depth) if depth < 8 else 0
            if number * TILE_WIDTH + width > held:
                raise Refused(f"{path} is beyond the checkpoint")
            if width < TILE_WIDTH:
                partials.setdefault((level, number), []).append(width)
        return partials

    def climb(self, level, hashes, levels, partials):
        """Adds hashes to a level; a tile that gets full is compared and hashed into the next."""
        while True:
            if level == len(levels):
                levels.append([])
            levels[level].extend(hashes)
            if len(levels[level]) < TILE_WIDTH:
                return
            full, levels[level] = levels[level], []
            number = self.full.get(level, 0)
            self.full[level] = number + 1
            self.tile(level, number, full, partials)
            level, hashes = level + 1, [root_of(full)]

    def bundle(self, number, width, partials):
        path = tile_path(None, number, width)
        octets = read(os.path.join(self.directory, path), BUNDLE_BYTES_MAX, path)
        entries = entries_of(octets, width, path)
        self.required += 1
        for narrow in partials:
            if narrow != width:
                self.compare(tile_path(None, number, narrow), b"".join(
                    len(e).to_bytes(2, "big") + e for e in entries[:narrow]))
        return [leaf_hash(entry) for entry in entries]

    def tile(self, level, number, hashes, partials):
        path = tile_path(level, number, len(hashes))
        octets = read(os.path.join(self.directory, path), TILE_WIDTH * HASH_BYTES, path)
        if octets != b"".join(hashes):
            raise Refused(f"{path} does not hold the hashes of the entries")
        self.required += 1
        for narrow in partials.pop((level, number), []):
            if narrow != len(hashes):
                self.compare(tile_path(level, number, narrow), b"".join(hashes[:narrow]))

    def compare(self, path, expected):
        """A superseded partial tile may stay, but it must have been right."""
        limit = max(len(expected), 1)
        if read(os.path.join(self.directory, path), limit, path) != expected:
            raise Refused(f"{path} is superseded and was wrong")
        self.superseded += 1


# --- proofs ----------------------------------------------------------------------------------


def verify_proof(octets, entry, keys):
    """A `.tlog-proof`: the entry is at its index in the tree of the checkpoint inside."""
    head, separator, note = octets.partition(b"\n\n")
    if not separator or len(octets) > NOTE_BYTES_MAX:
        raise Refused("proof: no checkpoint in it")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Refused("proof: not ASCII") from None
    if lines.pop(0) != "c2sp.org/tlog-proof@v1":
        raise Refused("proof: not a c2sp.org/tlog-proof@v1")
    if lines and lines[0].startswith("extra "):
        strict_base64(lines.pop(0)[6:], "proof extra")
    if not lines or not lines[0].startswith("index "):
        raise Refused("proof: no index")
    index = decimal(lines.pop(0)[6:], "proof index")
    if len(lines) > PROOF_HASHES_MAX:
        raise Refused("proof: too many hashes")
    path = [strict_base64(line, "proof hash") for line in lines]
    if any(len(node) != HASH_BYTES for node in path):
        raise Refused("proof hash: not 32 octets")
    checkpoint = Checkpoint(note)
    checkpoint.verify(keys)
    if root_from_proof(index, checkpoint.size, leaf_hash(entry), path) != checkpoint.root:
        raise Refused("the proof does not lead to the root of its checkpoint")
    return checkpoint, index


# --- the command -----------------------------------------------------------------------------


def whole(path, limit):
    try:
        with open(path, "rb") as file:
            octets = file.read(limit + 1)
    except OSError as error:
        raise Broken(f"{path}: {error.strerror}") from None
    if len(octets) > limit:
        raise Refused(f"{path} is too long")
    return octets


def arguments():
    parser = argparse.ArgumentParser(description="Verifies a C2SP tlog-tiles log or a .tlog-proof.")
    parser.add_argument("directory", nargs="?", help="a copied log: checkpoint and tile/")
    parser.add_argument("--vkey", action="append", default=[], help="must have signed; repeatable")
    parser.add_argument("--since", help="an earlier checkpoint that this log must extend")
    parser.add_argument("--proof", help="a .tlog-proof file, instead of a directory")
    parser.add_argument("--leaf", help="the entry that the proof is about")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    options = parser.parse_args()
    if (options.directory is None) == (options.proof is None):
        parser.error("name either a directory or --proof FILE")
    if (options.proof is None) != (options.leaf is None):
        parser.error("--proof and --leaf go together")
    if options.proof and options.since:
        parser.error("--since needs a directory")
    if not options.vkey:
        parser.error("name at least one --vkey: without a key nothing is verified")
    return options


def look(options):
    keys = [VerifierKey(text) for text in options.vkey]
    if options.proof:
        entry = whole(options.leaf, 65535)
        checkpoint, index = verify_proof(whole(options.proof, NOTE_BYTES_MAX), entry, keys)
        return {"origin": checkpoint.origin, "size": checkpoint.size, "index": index}
    if not os.path.isdir(options.directory):
        raise Broken(f"{options.directory} is no directory")
    path = os.path.join(options.directory, "checkpoint")
    checkpoint = Checkpoint(read(path, NOTE_BYTES_MAX, "checkpoint"))
    checkpoint.verify(keys)
    since = None
    if options.since:
        since = Checkpoint(whole(options.since, NOTE_BYTES_MAX))
        since.verify(keys)
        if since.origin != checkpoint.origin:
            raise Refused("the earlier checkpoint is of another log")
        if since.size > checkpoint.size:
            raise Refused(f"rolled back: {since.size} entries before, {checkpoint.size} now")
    log = Log(options.directory, checkpoint, since)
    log.verify()
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
        "files": log.required,
        "superseded": log.superseded,
        "since": since.size if since else None,
    }


def main():
    options = arguments()
    code, answer = 0, {"verdict": "pass"}
    try:
        answer.update(look(options))
    except Refused as refusal:
        code, answer = 1, {"verdict": "refused", "why": str(refusal)}
    except Broken as problem:
        code, answer = 2, {"verdict": "error", "why": str(problem)}
    except OSError as problem:
        code, answer = 2, {"verdict": "error", "why": f"{problem.filename}: {problem.strerror}"}
    if options.json:
        print(json.dumps(answer))
    else:
        words = [f"{name} {value}" for name, value in answer.items() if value is not None]
        print("\n".join(words), file=sys.stdout if code == 0 else sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
