"""Writes checkpoint.note and checkpoint.vkeys with other people's implementations.

Run in a virtual environment with cryptography (Ed25519) and dilithium-py (ML-DSA-44). Every
signature is deterministic, so the files come out the same each time.
"""

import base64
import hashlib
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dilithium_py.ml_dsa import ML_DSA_44

LOG, WITNESS, SIZE, TIME = "example.com/log", "witness.example/w1", 1234567890123, 1700000000
ROOT = hashlib.sha256(b"root").digest()


def b64(octets):
    return base64.b64encode(octets).decode()


TEXT = f"{LOG}\n{SIZE}\n{b64(ROOT)}\n"


def ed25519(first):
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(first, first + 32)))
    return key.public_key().public_bytes_raw(), key.sign


def ml_dsa_44(first):
    public, private = ML_DSA_44.key_derive(bytes(range(first, first + 32)))
    return public, lambda message: ML_DSA_44.sign(private, message, deterministic=True)


def opaque(text):
    return bytes([len(text)]) + text.encode()


def subtree(name, time):
    head = b"subtree/v1\n\0" + opaque(name) + struct.pack(">Q", time) + opaque(LOG)
    return head + struct.pack(">QQ", 0, SIZE) + ROOT


def signers():
    public, sign = ed25519(32)
    yield LOG, 1, public, sign(TEXT.encode())
    public, sign = ml_dsa_44(0)
    yield LOG, 6, public, struct.pack(">Q", 0) + sign(subtree(LOG, 0))
    public, sign = ed25519(64)
    timed = f"cosignature/v1\ntime {TIME}\n{TEXT}".encode()
    yield WITNESS, 4, public, struct.pack(">Q", TIME) + sign(timed)
    public, sign = ml_dsa_44(96)
    yield WITNESS, 6, public, struct.pack(">Q", TIME) + sign(subtree(WITNESS, TIME))


note, vkeys = TEXT + "\n", ""
for name, kind, public, signature in signers():
    typed = bytes([kind]) + public
    identity = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    note += f"\u2014 {name} {b64(identity + signature)}\n"
    vkeys += f"{name}+{identity.hex()}+{b64(typed)}\n"
open("checkpoint.note", "w", encoding="utf-8").write(note)
open("checkpoint.vkeys", "w", encoding="utf-8").write(vkeys)
