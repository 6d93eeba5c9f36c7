#!/usr/bin/env python3
"""A second reader and writer of the sealed format, version 1, made from FORMAT.md alone.

It exists to prove that the text is enough; it holds everything in memory and wipes nothing.
Needs `cryptography` from PyPI.

    sealed.py vectors DIRECTORY   checks every frozen vector and prints how many messages that were
    sealed.py open                reads requests, a line of JSON each, and answers with plaintexts
    sealed.py seal                the same with messages
"""

import hashlib
import hmac
import json
import os
import sys
import unicodedata
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

MAGIC = b"\x93KMS"
SUITES = {1: AESGCM, 2: ChaCha20Poly1305}
SUITE_NAMES = {"aes-256-gcm": 1, "chacha20-poly1305": 2}
HEADER_LEN, BOUND_LEN, TAG_LEN = 104, 72, 16
WHOLE_MAX, STREAM_MAX = 2**36 - 32, 2**43
PROVIDER_ID_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-._")


class Refused(Exception):
    """A message is refused; `step` is that of section 6, with 3 for 3 to 5."""

    def __init__(self, step):
        super().__init__(f"refused at step {step}")
        self.step = step


def check(condition, step=1):
    if not condition:
        raise Refused(step)


def lp(data):
    return len(data).to_bytes(2, "big") + data


def label(text):
    return lp(text.encode())


# Section 3


def context_digest(pairs):
    pairs = sorted((name.encode(), value.encode()) for name, value in pairs)
    encoded = b"\x01" + len(pairs).to_bytes(2, "big")
    encoded += b"".join(lp(name) + lp(value) for name, value in pairs)
    return hashlib.sha256(label("kms-sealed-v1 context") + encoded).digest()


# Section 4


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(pseudorandom_key, info):
    """HKDF-Expand to 32 bytes, which is one block of its output."""
    return mac(pseudorandom_key, info + b"\x01")


def message_keys(dek, bound):
    extracted = mac(bound[8:40], dek)
    key = expand(extracted, label("kms-sealed-v1 message key") + lp(bound))
    commitment = expand(extracted, label("kms-sealed-v1 commitment") + lp(bound))
    return key, commitment


def recipients_mac(dek, covered):
    key = expand(mac(bytes(32), dek), label("kms-sealed-v1 recipients"))
    return mac(key, covered)


# Section 5


def stream_aad(header, aad):
    return header + hashlib.sha256(label("kms-sealed-v1 stream aad") + aad).digest()


def nonce(index, last):
    return index.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def seal_body(aead, header, exponent, aad, plaintext):
    if exponent is None:
        check(len(plaintext) <= WHOLE_MAX)
        return aead.encrypt(nonce(0, True), plaintext, header + aad)
    check(len(plaintext) <= STREAM_MAX)
    size = 2**exponent
    chunks = [plaintext[at : at + size] for at in range(0, len(plaintext), size)] or [b""]
    aad = stream_aad(header, aad)
    return b"".join(
        aead.encrypt(nonce(index, index == len(chunks) - 1), chunk, aad)
        for index, chunk in enumerate(chunks)
    )


def open_body(aead, header, exponent, aad, body):
    try:
        if exponent is None:
            check(TAG_LEN <= len(body) <= WHOLE_MAX + TAG_LEN, 3)
            return aead.decrypt(nonce(0, True), body, header + aad)
        full = 2**exponent + TAG_LEN
        chunks = [body[at : at + full] for at in range(0, len(body), full)]
        check(chunks, 3)
        check(len(body) - TAG_LEN * len(chunks) <= STREAM_MAX, 3)
        least = TAG_LEN if len(chunks) == 1 else TAG_LEN + 1
        check(len(chunks[-1]) >= least, 3)
        aad = stream_aad(header, aad)
        return b"".join(
            aead.decrypt(nonce(index, index == len(chunks) - 1), chunk, aad)
            for index, chunk in enumerate(chunks)
        )
    except InvalidTag:
        raise Refused(3) from None


# Sections 1 and 2


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        check(count <= len(self.data) - self.at)
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count):
        return int.from_bytes(self.take(count), "big")

    def text(self, length_bytes):
        try:
            return self.take(self.number(length_bytes)).decode()
        except UnicodeDecodeError:
            raise Refused(1) from None


def controls(text):
    return any(unicodedata.category(character) == "Cc" for character in text)


def read_entry(reader):
    provider_id = reader.take(reader.number(1))
    check(1 <= len(provider_id) <= 64 and PROVIDER_ID_BYTES.issuperset(provider_id))
    key_id = reader.text(2)
    check(1 <= len(key_id.encode()) <= 1024 and not controls(key_id))
    check(not controls(reader.text(1)))
    count = reader.number(1)
    check(count <= 64)
    last, total = b"", 0
    for _ in range(count):
        name = reader.text(1).encode()
        value = reader.take(reader.number(2))
        check(name > last)
        last, total = name, total + len(name) + len(value)
    check(total <= 32768)
    check(len(reader.take(reader.number(2))) >= 1)
    return provider_id, key_id


def read_preamble(message):
    """Returns the header, its suite and chunk exponent, the recipients block, and the body."""
    reader = Reader(message)
    header = reader.take(HEADER_LEN)
    check(header[:4] == MAGIC)
    version, suite, form, exponent = header[4:8]
    check(version == 1 and suite in SUITES and form in (0, 1))
    check(12 <= exponent <= 24 if form == 1 else exponent == 0)
    count, length = reader.number(2), reader.number(4)
    check(1 <= count <= 16 and length <= 1048576)
    entries = Reader(reader.take(length))
    recipients_tag = reader.take(32)
    seen = [read_entry(entries) for _ in range(count)]
    check(entries.at == length and len(set(seen)) == count)
    covered = message[HEADER_LEN : HEADER_LEN + 6 + length]
    return header, suite, exponent if form else None, covered, recipients_tag, message[reader.at :]


def open_message(dek, context, aad, message):
    header, suite, exponent, covered, recipients_tag, body = read_preamble(message)
    check(header[40:72] == context_digest(context), 2)
    check(len(dek) == 32, 3)
    key, commitment = message_keys(dek, header[:BOUND_LEN])
    committed = hmac.compare_digest(commitment, header[BOUND_LEN:])
    authentic = hmac.compare_digest(recipients_mac(dek, covered), recipients_tag)
    check(committed and authentic, 3)
    return open_body(SUITES[suite](key), header, exponent, aad, body)


def write_entry(recipient):
    def short(data):
        return len(data).to_bytes(1, "big") + data

    annotations = sorted(
        (name.encode(), bytes.fromhex(value)) for name, value in recipient["annotations"].items()
    )
    return (
        short(recipient["provider_id"].encode())
        + lp(recipient["key_id"].encode())
        + short(recipient["key_version"].encode())
        + len(annotations).to_bytes(1, "big")
        + b"".join(short(name) + lp(value) for name, value in annotations)
        + lp(bytes.fromhex(recipient["wrapped"]))
    )


def seal_message(request):
    dek = bytes.fromhex(request["dek"])
    suite, exponent = SUITE_NAMES[request["suite"]], request["chunk_exponent"]
    salt = bytes.fromhex(request["salt"]) if request["salt"] else os.urandom(32)
    form = bytes([0, 0]) if exponent is None else bytes([1, exponent])
    bound = MAGIC + bytes([1, suite]) + form + salt + context_digest(request["context"])
    key, commitment = message_keys(dek, bound)
    header = bound + commitment
    entries = b"".join(write_entry(recipient) for recipient in request["recipients"])
    covered = len(request["recipients"]).to_bytes(2, "big") + len(entries).to_bytes(4, "big")
    covered += entries
    plaintext, aad = bytes.fromhex(request["plaintext"]), bytes.fromhex(request["aad"])
    body = seal_body(SUITES[suite](key), header, exponent, aad, plaintext)
    return header + covered + recipients_mac(dek, covered) + body


# Vectors


def open_request(request):
    return open_message(
        bytes.fromhex(request["dek"]),
        request["context"],
        bytes.fromhex(request["aad"]),
        bytes.fromhex(request["message"]),
    )


def edited(entry, message):
    """All messages that an entry of `refused` stands for."""
    if "xor" in entry:
        for at in range(*entry["xor"]):
            yield message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
    elif "truncate" in entry:
        for length in range(*entry["truncate"]):
            yield message[:length]
    elif "message" in entry:
        yield bytes.fromhex(entry["message"])
    else:
        for at, length, data in entry.get("splice", []):
            message = message[:at] + bytes.fromhex(data) + message[at + length :]
        yield message


def check_vectors(directory):
    count = 0
    for path in sorted(Path(directory).glob("*.json")):
        vectors = json.loads(path.read_text())
        assert vectors["format"] == "kms-sealed-v1"
        for case in vectors["cases"]:
            if "plaintext" in case:
                expected = bytes.fromhex(case["plaintext"])
            else:
                expected = bytes(at % 251 for at in range(case["plaintext_len"]))
                made = seal_message({**case, "plaintext": expected.hex()})
                assert made.hex() == case["message"], (path, case["name"])
            assert open_request(case) == expected, (path, case["name"])
            count += 1
        for entry in vectors["refused"]:
            case = {**vectors["cases"][entry["case"]]}
            message = bytes.fromhex(case["message"])
            case.update({field: entry[field] for field in ("dek", "context", "aad") if field in entry})
            for changed in edited(entry, message):
                try:
                    open_request({**case, "message": changed.hex()})
                except Refused as refused:
                    assert refused.step == entry["step"], (path, entry["name"], refused.step)
                else:
                    raise AssertionError((path, entry["name"], "opens"))
                count += 1
    return count


def main():
    match sys.argv[1:]:
        case ["vectors", directory]:
            print(check_vectors(directory))
        case ["open"]:
            for line in sys.stdin:
                print(json.dumps({"plaintext": open_request(json.loads(line)).hex()}))
        case ["seal"]:
            for line in sys.stdin:
                print(json.dumps({"message": seal_message(json.loads(line)).hex()}))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
