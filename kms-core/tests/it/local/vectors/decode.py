"""Reads the keyring files and wrapped DEKs beside it by the format's description alone.

Shares no code with the Rust side. Needs `cryptography` 44 or later: python3 decode.py
"""
import base64
import hashlib
import hmac
import json
import pathlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PASSPHRASE = b"correct horse battery staple"
DEK = b"a DEK that is 32 bytes in length"
CONTEXT = {"table": "users", "tenant": "acme"}


def field(text):
    return struct.pack(">H", len(text)) + text.encode()


def context_bytes(context):
    pairs = b"".join(field(name) + field(value) for name, value in sorted(context.items()))
    return b"\x01" + struct.pack(">H", len(context)) + pairs


def keys_of(document):
    """The keys and fingerprints by version, after every check."""
    content = document["content"]
    encoded = json.dumps(content, separators=(",", ":")).encode()
    digest = hashlib.sha256(b"kms local keyring v1: digest" + encoded).digest()
    assert digest == base64.b64decode(document["digest"])
    lock, derive = content.get("passphrase"), None
    if lock:
        assert lock["kdf"] == "argon2id"
        salt = base64.b64decode(lock["salt"])
        root = Argon2id(
            salt=salt,
            length=32,
            iterations=lock["passes"],
            lanes=lock["lanes"],
            memory_cost=lock["memory_kib"],
        ).derive(PASSPHRASE)

        def derive(purpose):
            info = b"kms local keyring v1: " + purpose
            return HKDF(hashes.SHA256(), 32, salt, info).derive(root)

        assert derive(b"check") == base64.b64decode(lock["check"])
        mac = hmac.digest(derive(b"mac"), encoded, "sha256")
        assert mac == base64.b64decode(document["mac"])
    keys, fingerprints = {}, {}
    for record in content["keys"]:
        fingerprints[record["version"]] = record["fingerprint"]
        if "material" not in record:
            assert record["state"] == "destroyed"
            continue
        stored = base64.b64decode(record["material"])
        if lock:
            aad = b"kms local material v1" + bytes.fromhex(content["keyring_id"])
            aad += struct.pack(">I", record["version"])
            stored = AESGCM(derive(b"wrap")).decrypt(stored[:12], stored[12:], aad)
        assert len(stored) == 32
        fingerprint = hmac.digest(stored, b"kms local key id v1", "sha256")[:8]
        assert fingerprint.hex() == record["fingerprint"]
        keys[record["version"]] = stored
    assert all(len(bytes.fromhex(each)) == 8 for each in fingerprints.values())
    return keys, fingerprints


def main():
    here = pathlib.Path(__file__).parent
    for name in ("plain", "passphrase"):
        text = (here / f"{name}.json").read_text()
        document = json.loads(text)
        assert text == json.dumps(document, indent=2) + "\n"
        assert (document["format"], document["version"]) == ("kms-local-keyring", 1)
        keys, fingerprints = keys_of(document)
        assert keys[3] == b"0123456789abcdef0123456789abcdef"
        wrapped = bytes.fromhex((here / f"{name}.wrapped").read_text())
        form, version = struct.unpack(">BI", wrapped[:5])
        assert form == 1
        key_id = f"local/{document['content']['keyring_id']}/{version}-{fingerprints[version]}"
        aad = b"kms local wrap v1" + field(key_id) + context_bytes(CONTEXT)
        assert AESGCM(keys[version]).decrypt(wrapped[5:17], wrapped[17:], aad) == DEK
        print(f"{name}: {key_id} opens")


main()
