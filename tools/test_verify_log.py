#!/usr/bin/env python3
"""Tests of verify_log.py: vectors that nobody here made, and small logs, made and then spoilt.

Run by `python3 tools/test_verify_log.py`, and with the tests of crates/record.
"""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import verify_log as v  # noqa: E402

CRYPTO_DATA = HERE.parent / "crates/crypto/tests/data"

# RFC 8032, section 7.1: (secret key, public key, message, signature) of tests 1, 2, 3 and SHA(abc).
RFC8032 = [
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
     "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e3970"
     "1cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
     "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613"
     "d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
     "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760"
     "984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
     "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23"
     "a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c6"
     "6431e0303dca179c138ac17ad9bef1177331a704"),
]

# The leaves and roots that certificate-transparency implementations test with (sizes 0 to 8).
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
             "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

SECRET = bytes(range(32))
ORIGIN = "log.example/test"


def sign(secret, message):
    """Ed25519 (RFC 8032, section 5.1.6): only for logs of these tests."""
    expanded = hashlib.sha512(secret).digest()
    scalar = int.from_bytes(expanded[:32], "little") & ((1 << 254) - 8) | 1 << 254
    public = compress(v.point_multiply(scalar, v.BASE))
    r = int.from_bytes(hashlib.sha512(expanded[32:] + message).digest(), "little") % v.L
    point = compress(v.point_multiply(r, v.BASE))
    k = int.from_bytes(hashlib.sha512(point + public + message).digest(), "little") % v.L
    return public, point + ((r + k * scalar) % v.L).to_bytes(32, "little")


def compress(point):
    inverse = pow(point[2], v.P - 2, v.P)
    x, y = point[0] * inverse % v.P, point[1] * inverse % v.P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def vkey(secret=SECRET, name=ORIGIN):
    octets = b"\x01" + sign(secret, b"")[0]
    id_ = hashlib.sha256(name.encode() + b"\n" + octets).hexdigest()[:8]
    return f"{name}+{id_}+{base64.b64encode(octets).decode()}"


def note(size, root, secret=SECRET, origin=ORIGIN):
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    key = v.VerifierKey(vkey(secret))
    _, signature = sign(secret, text.encode())
    return f"{text}\n\u2014 {key.name} {base64.b64encode(key.id + signature).decode()}\n".encode()


def recursive_root(hashes):
    """RFC 6962, section 2.1, as it is written; the verifier uses another algorithm."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return v.node_hash(recursive_root(hashes[:k]), recursive_root(hashes[k:]))


def recursive_path(index, hashes):
    """RFC 6962, section 2.1.1."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if index < k:
        return recursive_path(index, hashes[:k]) + [recursive_root(hashes[k:])]
    return recursive_path(index - k, hashes[k:]) + [recursive_root(hashes[:k])]


def entry(i):
    return b"entry %d " % i * (i % 7)


def write(folder, path, octets):
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)


def write_log(folder, size, superseded=()):
    """A whole log, level by level; `superseded` are sizes whose partial files stay behind."""
    entries = [entry(i) for i in range(size)]
    level = [v.leaf_hash(e) for e in entries]
    write(folder, "checkpoint", note(size, recursive_root(level)))
    for stage in (*superseded, size):
        hashes, depth = level[:stage], 0
        while hashes:
            for number in range((len(hashes) + 255) // 256):
                part = hashes[number * 256:number * 256 + 256]
                write(folder, place(str(depth), number, len(part)), b"".join(part))
                if depth == 0:
                    own = entries[number * 256:min(number * 256 + 256, stage)]
                    bundle = b"".join(len(e).to_bytes(2, "big") + e for e in own)
                    write(folder, place("entries", number, len(part)), bundle)
            full = len(hashes) // 256
            hashes = [recursive_root(hashes[n * 256:n * 256 + 256]) for n in range(full)]
            depth += 1
    return level


def place(level, number, width):
    text = f"{number:03d}" if number < 1000 else f"x{number // 1000:03d}/{number % 1000:03d}"
    return f"tile/{level}/{text}" + ("" if width == 256 else f".p/{width}")


class Vectors(unittest.TestCase):
    def test_rfc_8032(self):
        for secret, public, message, signature in RFC8032:
            public, message, signature = map(bytes.fromhex, (public, message, signature))
            self.assertTrue(v.ed25519_verify(public, signature, message))
            self.assertEqual(sign(bytes.fromhex(secret), message), (public, signature))
            for i in range(0, 64, 7):
                wrong = bytearray(signature)
                wrong[i] ^= 1
                self.assertFalse(v.ed25519_verify(public, bytes(wrong), message))
            self.assertFalse(v.ed25519_verify(public, signature, message + b"x"))

    def test_a_signature_has_one_spelling(self):
        public, message, signature = (bytes.fromhex(t) for t in RFC8032[0][1:])
        s = int.from_bytes(signature[32:], "little") + v.L
        self.assertFalse(v.ed25519_verify(public, signature[:32] + s.to_bytes(32, "little"), message))
        # y = 1 + p is the neutral point in another spelling; y = 1 with the sign of x is none.
        for y in (1 + v.P, 1 | 1 << 255):
            self.assertIsNone(v.point_decompress(y.to_bytes(32, "little")))
        # A key of small order signs everything with S = 0 unless it is refused.
        neutral = (1).to_bytes(32, "little")
        self.assertFalse(v.ed25519_verify(neutral, neutral + bytes(32), b"anything"))

    def test_roots_of_certificate_transparency(self):
        leaves = [v.leaf_hash(bytes.fromhex(t)) for t in CT_LEAVES]
        for size, root in enumerate(CT_ROOTS):
            self.assertEqual(v.root_of(leaves[:size]).hex(), root)
            self.assertEqual(recursive_root(leaves[:size]).hex(), root)

    def test_a_checkpoint_of_other_implementations_in_all_four_ways(self):
        octets = (CRYPTO_DATA / "checkpoint.note").read_bytes()
        keys = [v.VerifierKey(t) for t in (CRYPTO_DATA / "checkpoint.vkeys").read_text().split()]
        self.assertEqual([k.kind for k in keys], [1, 6, 4, 6])
        checkpoint = v.Checkpoint(octets)
        checkpoint.verify(keys)
        for key in keys:
            for at in (0, 8, 40, 700, 2000, 2400):
                name, id_, good = next(s for s in checkpoint.signatures if s[1] == key.id)
                if at < len(good):
                    wrong = bytearray(good)
                    wrong[at] ^= 4
                    self.assertFalse(key.verify(checkpoint, bytes(wrong)), (key.name, at))


class Notes(unittest.TestCase):
    def refused(self, octets):
        with self.assertRaises(v.Refused):
            v.Checkpoint(octets).verify([v.VerifierKey(vkey())])

    def test_spellings_that_are_not_the_one(self):
        good = note(1, bytes(32))
        v.Checkpoint(good).verify([v.VerifierKey(vkey())])
        root = base64.b64encode(bytes(32)).decode()
        for wrong in (root[:-2] + "B=", root[:-1], root + "\n", root[:-1] + "=="):
            self.refused(good.replace(root.encode(), wrong.encode()))
        for size in ("01", "-1", "+1", "1 ", "", "\u0661", "9223372036854775808"):
            self.refused(good.replace(b"\n1\n", f"\n{size}\n".encode()))
        for octets in (b"", good[:-1], good.replace(b"\n\n", b"\n"), good + b"\n", good + b"x\n",
                       good.replace(b"\n1\n", b"\n1\r\n"), b"\xff" + good,
                       good.replace("\u2014".encode(), b"-")):
            self.refused(octets)

    def test_every_key_must_have_signed(self):
        keys = [v.VerifierKey(vkey()), v.VerifierKey(vkey(bytes(32)))]
        checkpoint = v.Checkpoint(note(1, bytes(32)))
        with self.assertRaisesRegex(v.Refused, "has not signed"):
            checkpoint.verify(keys)

    def test_a_key_whose_id_is_not_its_own(self):
        with self.assertRaises(v.Broken):
            v.VerifierKey(vkey().replace("+", "+0", 1))


class Logs(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def run_it(self, *arguments, key=None):
        command = [sys.executable, str(HERE / "verify_log.py"), *map(str, arguments), "--json",
                   "--vkey", key or vkey()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    def test_logs_of_telling_sizes(self):
        for size in (0, 1, 2, 255, 256, 257, 511, 512, 700):
            with self.subTest(size):
                folder = self.folder / str(size)
                folder.mkdir()
                write_log(folder, size, superseded=[s for s in (1, 200, 300) if s < size])
                code, answer = self.run_it(folder)
                self.assertEqual((code, answer.get("size")), (0, size), answer)

    def test_a_second_level_that_is_full(self):
        write_log(self.folder, 65536 + 300)
        code, answer = self.run_it(self.folder)
        self.assertEqual((code, answer["size"]), (0, 65836), answer)
        self.assertTrue((self.folder / "tile/1/000").exists())
        self.assertTrue((self.folder / "tile/2/000.p/1").exists())

    def test_every_file_counts(self):
        """Any octet of any file, any file taken away, any file cut or grown."""
        write_log(self.folder, 300, superseded=[5])
        files = [p for p in sorted(self.folder.rglob("*")) if p.is_file()]
        self.assertEqual(len(files), 8)
        for path in files:
            good = path.read_bytes()
            spoilt = [good[:-1], good + b"\0", b""]
            for at in (0, len(good) // 2, len(good) - 1):
                wrong = bytearray(good)
                wrong[at] ^= 0x20
                spoilt.append(bytes(wrong))
            for octets in spoilt:
                path.write_bytes(octets)
                self.assertEqual(self.run_it(self.folder)[0], 1, path)
            path.unlink()
            superseded = path.name == "5"
            self.assertEqual(self.run_it(self.folder)[0], 0 if superseded else 1, path)
            path.write_bytes(good)
        self.assertEqual(self.run_it(self.folder)[0], 0)

    def test_what_does_not_belong_there(self):
        write_log(self.folder, 300)
        for path in ("tile/0/002.p/1", "tile/0/001", "tile/0/001.p/45", "tile/1/000.p/2",
                     "tile/2/000.p/1", "tile/entries/001", "tile/entries/000.p/256",
                     "tile/0/0", "tile/00/000", "tile/0/x000/000", "tile/0/000.p/01",
                     "tile/0/001.p/x", "tile/64/000", "tile/readme", "tile/0/000.tmp"):
            write(self.folder, path, b"x" * 32)
            code, answer = self.run_it(self.folder)
            self.assertEqual(code, 1, path)
            (self.folder / path).unlink()
            for parent in (self.folder / path).parents:
                if not any(parent.iterdir()):
                    parent.rmdir()
        self.assertEqual(self.run_it(self.folder)[0], 0)

    def test_links_are_not_followed(self):
        write_log(self.folder, 3)
        tile = self.folder / "tile/0/000.p/3"
        tile.rename(self.folder / "elsewhere")
        os.symlink(self.folder / "elsewhere", tile)
        self.assertEqual(self.run_it(self.folder)[0], 1)

    def test_a_wrong_root_that_is_signed_is_refused(self):
        write_log(self.folder, 10)
        (self.folder / "checkpoint").write_bytes(note(10, bytes(32)))
        self.assertEqual(self.run_it(self.folder)[0], 1)

    def test_an_earlier_checkpoint_shows_a_rollback_and_a_fork(self):
        level = write_log(self.folder, 300)
        earlier = self.folder / "earlier"
        for size in (0, 1, 255, 256, 257, 300):
            earlier.write_bytes(note(size, recursive_root(level[:size])))
            code, answer = self.run_it(self.folder, "--since", earlier)
            self.assertEqual((code, answer.get("since")), (0, size), answer)
        for checkpoint in (note(301, bytes(32)), note(200, bytes(32)), note(0, bytes(32)),
                           note(1, level[0], origin="other.example")):
            earlier.write_bytes(checkpoint)
            self.assertEqual(self.run_it(self.folder, "--since", earlier)[0], 1)

    def test_proofs(self):
        level = [v.leaf_hash(entry(i)) for i in range(21)]
        leaf, proof = self.folder / "leaf", self.folder / "x.tlog-proof"
        for size in (1, 2, 8, 13, 21):
            for index in range(size):
                lines = ["c2sp.org/tlog-proof@v1", f"index {index}"]
                path = recursive_path(index, level[:size])
                lines += [base64.b64encode(h).decode() for h in path]
                head = "\n".join(lines).encode()
                octets = head + b"\n\n" + note(size, recursive_root(level[:size]))
                key = [v.VerifierKey(vkey())]
                self.assertEqual(v.verify_proof(octets, entry(index), key)[1], index)
                for wrong in (octets.replace(b"index ", b"index 0", 1),
                              octets.replace(b"@v1", b"@v2"),
                              octets.replace(b"\n\n", b"\n" + lines[-1].encode() + b"\n\n", 1),
                              octets.replace(f"index {index}".encode(), f"index {size}".encode())):
                    with self.assertRaises(v.Refused):
                        v.verify_proof(wrong, entry(index), key)
                with self.assertRaises(v.Refused):
                    v.verify_proof(octets, entry(index) + b"x", key)
        proof.write_bytes(octets)
        leaf.write_bytes(entry(20))
        self.assertEqual(self.run_it("--proof", proof, "--leaf", leaf)[0], 0)

    def test_what_cannot_be_looked_at_is_neither_pass_nor_refusal(self):
        self.assertEqual(self.run_it(self.folder / "nowhere")[0], 2)
        write_log(self.folder, 1)
        self.assertEqual(self.run_it(self.folder, key="not a key")[0], 2)


if __name__ == "__main__":
    unittest.main()
