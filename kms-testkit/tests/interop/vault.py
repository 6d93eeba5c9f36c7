"""The official Azure clients for Python against the loopback vault, unchanged.

    python3 vault.py INFO.json CA.pem HOSTS

The three files are what `kms testkit vault` writes. Needs azure-identity, azure-keyvault-keys and
aiohttp from PyPI. Every check prints its name; the first that fails ends the program.
"""

import asyncio
import hashlib
import json
import logging
import os
import socket
import sys
import tempfile
import time
import urllib.request
from datetime import datetime, timedelta, timezone

INFO, CA, HOSTS = sys.argv[1:4]
os.environ["REQUESTS_CA_BUNDLE"] = CA
os.environ["SSL_CERT_FILE"] = CA
with open(INFO, encoding="utf-8") as file:
    info = json.load(file)
with open(HOSTS, encoding="utf-8") as file:
    addresses = {name: address for address, name in (line.split() for line in file)}

# In place of the lines in /etc/hosts.
resolve = socket.getaddrinfo


def getaddrinfo(host, *args, **kwargs):
    text = host.decode() if isinstance(host, bytes) else host
    return resolve(addresses.get(text, host), *args, **kwargs)


socket.getaddrinfo = getaddrinfo

from azure.core.exceptions import (  # noqa: E402
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.identity import (  # noqa: E402
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.identity import aio as identity_aio  # noqa: E402
from azure.keyvault.keys import (  # noqa: E402
    ApiVersion,
    JsonWebKey,
    KeyClient,
    KeyReleasePolicy,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
)
from azure.keyvault.keys import aio as keys_aio  # noqa: E402
from azure.keyvault.keys.crypto import (  # noqa: E402
    CryptographyClient,
    EncryptionAlgorithm,
    KeyWrapAlgorithm,
    SignatureAlgorithm,
)
from cryptography.hazmat.primitives import keywrap, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: E402

AUTHORITY = info["authority"]
TENANT = info["tenant_id"]
VAULT = info["vault_url"]
HSM = info["managed_hsm_url"]
TLS = {"connection_verify": CA}
LOGIN = {"authority": AUTHORITY, "disable_instance_discovery": True, **TLS}
DEK = bytes(range(32))


def secret(identity):
    return ClientSecretCredential(
        TENANT, identity["client_id"], identity["client_secret"], **LOGIN
    )


def admin(method, path, body=None):
    """A command to the double itself."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(info["admin_url"] + path, data=data, method=method)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


operator = secret(info)
vault = KeyClient(VAULT, operator, **TLS)
hsm = KeyClient(HSM, operator, **TLS)
POLL = {"_polling_interval": 0.05}


def cryptography(client, key):
    return client.get_cryptography_client(key.name, key_version=key.properties.version)


def remote(credential, key_id):
    """Without the public key, so that the service has to do the work."""
    client = CryptographyClient(key_id, credential, **TLS)
    client._keys_get_forbidden = True
    return client


def refused(kind, code, inner, do):
    """Runs `do`, which must fail like this."""
    try:
        do()
    except HttpResponseError as error:
        assert isinstance(error, kind), (kind, error)
        assert error.error is not None, error
        assert error.error.code == code, error
        found = (error.error.innererror or {}).get("code")
        assert found == inner, (found, inner, error)
        return error
    raise AssertionError(f"{code}/{inner} was expected")


# The clients log what is refused here on purpose.
logging.disable(logging.CRITICAL)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@check
def rsa_keys():
    for size in (2048, 3072, 4096):
        key = vault.create_rsa_key(f"rsa-{size}", size=size, tags={"a": "b"})
        assert key.id.startswith(f"{VAULT}/keys/rsa-{size}/"), key.id
        assert key.key_type == "RSA" and len(key.key.n) * 8 == size
        assert key.properties.tags == {"a": "b"} and key.properties.enabled
        assert key.properties.recovery_level == "Recoverable+Purgeable"
        assert vault.get_key(key.name).id == key.id
        assert vault.get_key(key.name, key.properties.version).key.n == key.key.n
    key = vault.create_rsa_key("rsa-hardware", hardware_protected=True)
    assert key.key_type == "RSA-HSM"


@check
def local_and_remote_cryptography_agree():
    for size in (2048, 4096):
        key = vault.get_key(f"rsa-{size}")
        local, service = cryptography(vault, key), remote(operator, key.id)
        for algorithm in KeyWrapAlgorithm.rsa_oaep_256, KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa1_5:
            for wrapping in local, service:
                wrapped = wrapping.wrap_key(algorithm, DEK)
                assert wrapped.key_id == key.id
                assert service.unwrap_key(algorithm, wrapped.encrypted_key).key == DEK
        for algorithm in EncryptionAlgorithm.rsa_oaep_256, EncryptionAlgorithm.rsa_oaep:
            for encrypting in local, service:
                sealed = encrypting.encrypt(algorithm, b"text")
                assert service.decrypt(algorithm, sealed.ciphertext).plaintext == b"text"
                # Encrypting and wrapping are one thing with RSA.
                wrap = KeyWrapAlgorithm(algorithm.value)
                assert service.unwrap_key(wrap, sealed.ciphertext).key == b"text"
        refused(
            HttpResponseError, "BadParameter", None,
            lambda: service.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, bytes(size // 8 - 65)),
        )


@check
def signatures():
    hashes = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "P-256K": "ES256K"}
    keys = [(vault.get_key("rsa-3072"), kind + bits) for kind in ("RS", "PS") for bits in hashes]
    for curve, algorithm in curves.items():
        key = vault.create_ec_key(f"ec-{curve}", curve=curve)
        assert key.key_type == "EC" and key.key.crv == curve
        keys.append((key, algorithm))
    for key, name in keys:
        algorithm = SignatureAlgorithm(name)
        digest = hashes[name.strip("PRESK")](b"message").digest()
        local, service = cryptography(vault, key), remote(operator, key.id)
        signature = service.sign(algorithm, digest).signature
        assert local.verify(algorithm, digest, signature).is_valid, name
        assert service.verify(algorithm, digest, signature).is_valid, name
        other = hashes[name.strip("PRESK")](b"another").digest()
        assert not service.verify(algorithm, other, signature).is_valid, name


@check
def versions_and_lists():
    names = {f"listed-{i}" for i in range(30)}
    for name in names:
        vault.create_ec_key(name)
    listed = {key.name for key in vault.list_properties_of_keys()}
    assert names <= listed, names - listed
    pages = vault.list_properties_of_keys(max_page_size=7).by_page()
    sizes = [len(list(page)) for page in pages]
    assert len(sizes) > 4 and max(sizes) == 7, sizes
    made = [vault.create_ec_key("versions").properties.version for _ in range(3)]
    found = list(vault.list_properties_of_key_versions("versions"))
    assert sorted(version.version for version in found) == sorted(made)
    assert vault.get_key("versions").properties.version == made[-1]


@check
def updates():
    key = vault.create_rsa_key("updated")
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=30)
    updated = vault.update_key_properties(
        "updated", key.properties.version, enabled=False, expires_on=soon,
        key_operations=["wrapKey", "unwrapKey"], tags={"x": "y"},
    )
    assert updated.properties.enabled is False and updated.properties.expires_on == soon
    assert updated.key_operations == ["wrapKey", "unwrapKey"]
    wrap = lambda: remote(operator, key.id).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DEK)  # noqa: E731
    error = refused(HttpResponseError, "Forbidden", "KeyDisabled", wrap)
    assert "Operation wrapKey is not allowed on a disabled key." in error.message
    vault.update_key_properties("updated", enabled=True)
    wrapped = wrap()
    past = datetime.now(timezone.utc) - timedelta(days=1)
    vault.update_key_properties("updated", expires_on=past)
    refused(HttpResponseError, "Forbidden", "KeyExpired", wrap)
    # What is there stays readable.
    opened = remote(operator, key.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
    assert opened.key == DEK
    vault.update_key_properties(
        "updated", not_before=soon - timedelta(days=1), expires_on=soon
    )
    refused(HttpResponseError, "Forbidden", "KeyNotYetValid", wrap)
    sign = lambda: remote(operator, key.id).sign(SignatureAlgorithm.rs256, bytes(32))  # noqa: E731
    vault.update_key_properties("updated", not_before=past, expires_on=soon)
    refused(HttpResponseError, "Forbidden", "KeyOperationForbidden", sign)


@check
def imports():
    private = rsa.generate_private_key(65537, 2048)
    numbers = private.private_numbers()
    number = lambda n: n.to_bytes((n.bit_length() + 7) // 8, "big")  # noqa: E731
    jwk = JsonWebKey(
        kty="RSA", key_ops=["wrapKey", "unwrapKey"],
        n=number(numbers.public_numbers.n), e=number(numbers.public_numbers.e),
        d=number(numbers.d), p=number(numbers.p), q=number(numbers.q),
        dp=number(numbers.dmp1), dq=number(numbers.dmq1), qi=number(numbers.iqmp),
    )
    key = vault.import_key("imported", jwk)
    assert key.key.n == jwk.n and key.key_operations == ["wrapKey", "unwrapKey"]
    wrapped = cryptography(vault, key).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DEK)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(wrapped.encrypted_key, oaep) == DEK
    jwk.d = jwk.p
    refused(HttpResponseError, "BadParameter", None, lambda: vault.import_key("imported", jwk))

    private = ec.generate_private_key(ec.SECP384R1()).private_numbers()
    jwk = JsonWebKey(
        kty="EC", crv="P-384", x=number(private.public_numbers.x),
        y=number(private.public_numbers.y), d=number(private.private_value),
    )
    key = vault.import_key("imported-ec", jwk)
    digest = bytes(48)
    signature = remote(operator, key.id).sign(SignatureAlgorithm.es384, digest).signature
    assert cryptography(vault, key).verify(SignatureAlgorithm.es384, digest, signature).is_valid

    kek = os.urandom(32)
    key = hsm.import_key("imported-aes", JsonWebKey(kty="oct-HSM", k=kek))
    wrapped = remote(operator, key.id).wrap_key(KeyWrapAlgorithm.aes_256, DEK)
    assert keywrap.aes_key_unwrap(kek, wrapped.encrypted_key) == DEK


@check
def deletion():
    key = vault.create_rsa_key("deleted")
    wrapped = cryptography(vault, key).wrap_key(KeyWrapAlgorithm.rsa_oaep, DEK).encrypted_key
    deleted = vault.begin_delete_key("deleted", **POLL).result()
    assert deleted.recovery_id == f"{VAULT}/deletedkeys/deleted"
    assert deleted.scheduled_purge_date - deleted.deleted_date == timedelta(days=90)
    assert vault.get_deleted_key("deleted").id == key.id
    assert "deleted" in {key.name for key in vault.list_deleted_keys()}
    refused(ResourceNotFoundError, "KeyNotFound", None, lambda: vault.get_key("deleted"))
    unwrap = lambda: remote(operator, key.id).unwrap_key(KeyWrapAlgorithm.rsa_oaep, wrapped)  # noqa: E731
    refused(ResourceNotFoundError, "KeyNotFound", None, unwrap)
    refused(
        ResourceExistsError, "Conflict", "ObjectIsDeletedButRecoverable",
        lambda: vault.create_rsa_key("deleted"),
    )
    recovered = vault.begin_recover_deleted_key("deleted", **POLL).result()
    assert recovered.id == key.id and unwrap().key == DEK
    poller = vault.begin_delete_key("deleted", **POLL)
    poller.wait()
    vault.purge_deleted_key("deleted")
    refused(ResourceNotFoundError, "KeyNotFound", None, lambda: vault.get_deleted_key("deleted"))
    vault.create_rsa_key("deleted")


@check
def backups():
    for client, create in ((vault, vault.create_rsa_key), (hsm, hsm.create_oct_key)):
        first = create("saved")
        second = create("saved")
        backup = client.backup_key("saved")
        refused(ResourceExistsError, "Conflict", "KeyAlreadyExists", lambda: client.restore_key_backup(backup))
        client.begin_delete_key("saved", **POLL).wait()
        client.purge_deleted_key("saved")
        restored = client.restore_key_backup(backup)
        assert restored.id == second.id
        assert client.get_key("saved", first.properties.version).id == first.id


@check
def rotation():
    key = vault.create_rsa_key("rotated")
    unset = vault.get_key_rotation_policy("rotated")
    assert unset.lifetime_actions[0].action == KeyRotationPolicyAction.notify
    rotated = vault.rotate_key("rotated")
    assert rotated.id != key.id and rotated.key.n != key.key.n
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P30D")
    policy = vault.update_key_rotation_policy(
        "rotated", KeyRotationPolicy(), lifetime_actions=[action], expires_in="P60D"
    )
    assert policy.expires_in == "P60D" and policy.id.endswith("/keys/rotated/rotationpolicy")
    read = vault.get_key_rotation_policy("rotated")
    assert read.lifetime_actions[0].time_after_create == "P30D", vars(read.lifetime_actions[0])
    newest = vault.rotate_key("rotated")
    assert newest.properties.expires_on - newest.properties.created_on == timedelta(days=60)
    short = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P6D")
    refused(
        HttpResponseError, "BadParameter", None,
        lambda: vault.update_key_rotation_policy("rotated", KeyRotationPolicy(), lifetime_actions=[short]),
    )

    hsm.create_rsa_key("rotated", hardware_protected=True)
    refused(HttpResponseError, "BadParameter", None, lambda: hsm.rotate_key("rotated"))
    hsm.update_key_rotation_policy("rotated", KeyRotationPolicy(), lifetime_actions=[action])
    hsm.rotate_key("rotated")
    assert len(list(hsm.list_properties_of_key_versions("rotated"))) == 2


@check
def hsm_keys():
    assert hsm.create_rsa_key("rsa", hardware_protected=True).key_type == "RSA-HSM"
    assert hsm.create_ec_key("ec", hardware_protected=True).key_type == "EC-HSM"
    assert len(hsm.get_random_bytes(count=64)) == 64
    for size in (128, 192, 256):
        key = hsm.create_oct_key("aes", size=size, hardware_protected=True)
        assert key.key_type == "oct-HSM" and key.key.k is None
        service = remote(operator, key.id)
        algorithm = KeyWrapAlgorithm(f"A{size}KW")
        wrapped = service.wrap_key(algorithm, DEK)
        assert service.unwrap_key(algorithm, wrapped.encrypted_key).key == DEK
        algorithm = EncryptionAlgorithm(f"A{size}GCM")
        sealed = service.encrypt(algorithm, b"text", additional_authenticated_data=b"beside")
        opened = lambda beside: service.decrypt(  # noqa: E731
            algorithm, sealed.ciphertext, iv=sealed.iv, authentication_tag=sealed.tag,
            additional_authenticated_data=beside,
        )
        assert opened(b"beside").plaintext == b"text"
        refused(HttpResponseError, "BadParameter", None, lambda: opened(b"inside"))
        for padding, text in (("", bytes(32)), ("PAD", b"text")):
            algorithm = EncryptionAlgorithm(f"A{size}CBC{padding}")
            sealed = service.encrypt(algorithm, text, iv=bytes(16))
            assert service.decrypt(algorithm, sealed.ciphertext, iv=sealed.iv).plaintext == text
    refused(
        HttpResponseError, "BadParameter", "KeyTypeNotSupported",
        lambda: vault.create_oct_key("aes", hardware_protected=True),
    )
    refused(ResourceNotFoundError, "NotFound", None, lambda: vault.get_random_bytes(count=8))


@check
def release_and_attestation_are_refused():
    vault.create_rsa_key("kept")
    refused(
        HttpResponseError, "Forbidden", "KeyOperationForbidden",
        lambda: vault.release_key("kept", "a.b.c"),
    )
    policy = KeyReleasePolicy(b'{"version":"1.0.0","anyOf":[]}')
    key = hsm.create_rsa_key("released", hardware_protected=True, exportable=True, release_policy=policy)
    assert key.properties.exportable and key.properties.release_policy.encoded_policy == policy.encoded_policy
    refused(
        HttpResponseError, "Forbidden", "AccessDenied", lambda: hsm.release_key("released", "a.b.c")
    )
    refused(
        HttpResponseError, "BadParameter", None,
        lambda: hsm.create_rsa_key("not", hardware_protected=True, exportable=True),
    )
    refused(HttpResponseError, "BadParameter", None, lambda: hsm.get_key_attestation("released"))


@check
def roles():
    identities = info["identities"]
    key = vault.create_rsa_key("guarded")
    nobody = secret(identities["nobody"])
    error = refused(
        HttpResponseError, "Forbidden", "ForbiddenByRbac",
        lambda: KeyClient(VAULT, nobody, **TLS).get_key("guarded"),
    )
    assert "Action: 'Microsoft.KeyVault/vaults/keys/read'" in error.message
    for url, made, algorithm in (
        (VAULT, key, KeyWrapAlgorithm.rsa_oaep_256),
        (HSM, hsm.create_oct_key("guarded"), KeyWrapAlgorithm.aes_256),
    ):
        service = secret(identities["crypto_service_encryption_user"])
        client = KeyClient(url, service, **TLS)
        assert client.get_key("guarded").id == made.id
        crypto = remote(service, made.id)
        wrapped = crypto.wrap_key(algorithm, DEK)
        assert crypto.unwrap_key(algorithm, wrapped.encrypted_key).key == DEK
        for do in (
            lambda: crypto.encrypt(EncryptionAlgorithm.rsa_oaep_256, DEK),
            lambda: crypto.decrypt(EncryptionAlgorithm.rsa_oaep_256, wrapped.encrypted_key),
            lambda: crypto.sign(SignatureAlgorithm.rs256, bytes(32)),
            lambda: client.create_rsa_key("another"),
            lambda: client.update_key_properties("guarded", enabled=False),
            lambda: client.begin_delete_key("guarded"),
            lambda: client.rotate_key("guarded"),
            lambda: client.backup_key("guarded"),
            lambda: client.get_key_rotation_policy("guarded"),
        ):
            refused(HttpResponseError, "Forbidden", "ForbiddenByRbac", do)


@check
def logging_in():
    wrong = ClientSecretCredential(TENANT, info["client_id"], "wrong", **LOGIN)
    try:
        KeyClient(VAULT, wrong, **TLS).get_key("guarded")
        raise AssertionError("a wrong secret logged in")
    except ClientAuthenticationError as error:
        assert "AADSTS7000215" in error.message, error.message
    discovering = ClientSecretCredential(
        TENANT, info["client_id"], info["client_secret"], authority=AUTHORITY,
        disable_instance_discovery=True, **TLS,
    )
    assert discovering.get_token(f"{scope(VAULT)}/.default").token
    versions = ["7.3", "7.4", "7.5", "7.6", ApiVersion("2025-07-01").value]
    for version in versions:
        client = KeyClient(VAULT, operator, api_version=version, **TLS)
        assert client.get_key("guarded").name == "guarded"


def scope(url):
    return "https://" + url.split("//", 1)[1].split(".", 1)[1]


@check
def a_certificate_logs_in():
    if "certificate" not in info["identities"]:
        return
    credential = CertificateCredential(
        TENANT, info["identities"]["certificate"]["client_id"],
        certificate_path=info["identities"]["certificate"]["path"], **LOGIN,
    )
    assert KeyClient(VAULT, credential, **TLS).get_key("guarded").name == "guarded"


@check
def a_workload_logs_in():
    if "workload" not in info["identities"]:
        return
    workload = info["identities"]["workload"]
    with tempfile.NamedTemporaryFile("w") as token:
        token.write(workload["token"])
        token.flush()
        credential = WorkloadIdentityCredential(
            tenant_id=TENANT, client_id=workload["client_id"], token_file_path=token.name, **LOGIN
        )
        assert KeyClient(VAULT, credential, **TLS).get_key("guarded").name == "guarded"


@check
def a_managed_identity_logs_in():
    if "managed" not in info["identities"]:
        return
    os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = info["metadata_url"]
    for ids in ({}, {"client_id": info["identities"]["managed"]["client_id"]}):
        credential = ManagedIdentityCredential(**ids)
        assert KeyClient(VAULT, credential, **TLS).get_key("guarded").name == "guarded"


@check
def time_and_trouble():
    key = vault.create_rsa_key("troubled")
    service = remote(operator, key.id)
    wrap = lambda: service.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DEK)  # noqa: E731
    before = admin("GET", "/calls")["vault"]["wrapKey"]
    fault = {"store": "vault", "operation": "wrapKey"}
    # The client's own retries get over these two, and not over the others.
    admin("POST", "/faults", {**fault, "fault": "throttled", "retry_after_seconds": 1, "times": 1})
    admin("POST", "/faults", {**fault, "fault": "status", "status": 503, "times": 1})
    started = time.monotonic()
    assert wrap().key_id == key.id
    assert time.monotonic() - started >= 1
    assert admin("GET", "/calls")["vault"]["wrapKey"] - before == 3
    admin("POST", "/faults", {**fault, "fault": "throttled", "times": 1})
    refused(HttpResponseError, "Throttled", None, wrap)
    admin("POST", "/faults", {**fault, "fault": "proxy_status", "status": 502, "times": 1})
    for trouble in "drop", "truncated":
        admin("POST", "/faults", {**fault, "fault": trouble, "times": 1})
    for expected in HttpResponseError, AzureError, AzureError:
        try:
            wrap()
            raise AssertionError("trouble was expected")
        except expected:
            pass
    admin("POST", "/faults", {**fault, "fault": "slow", "ms": 500, "times": 1})
    started = time.monotonic()
    wrap()
    assert time.monotonic() - started >= 0.5

    stranger = admin("POST", "/identities", {"secret": "s"})
    credential = secret({**stranger, "client_secret": "s"})
    grant = {"store": "vault", "object_id": stranger["object_id"], "role": "CryptoUser"}
    read = lambda: KeyClient(VAULT, credential, **TLS).get_key("troubled")  # noqa: E731
    refused(HttpResponseError, "Forbidden", "ForbiddenByRbac", read)
    admin("POST", "/roles", {**grant, "key": "troubled"})
    read()
    admin("DELETE", "/roles", {**grant, "key": "troubled"})
    refused(HttpResponseError, "Forbidden", "ForbiddenByRbac", read)
    for network, inner in (("SelectedAddresses", "ForbiddenByFirewall"), ("Private", "ForbiddenByConnection")):
        admin("POST", "/network", {"store": "vault", "network": network})
        refused(HttpResponseError, "Forbidden", inner, wrap)
    admin("POST", "/network", {"store": "vault", "network": "Public"})
    wrap()

    # A policy rotates when its time has come. The clock is moved last: tokens grow old by it too.
    action = KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P7D")
    vault.update_key_rotation_policy("troubled", KeyRotationPolicy(), lifetime_actions=[action])
    admin("POST", "/clock", {"advance_seconds": 7 * 86400})
    try:
        vault.get_key("troubled")
        raise AssertionError("an old token was taken")
    except ClientAuthenticationError as error:
        assert "[TokenExpired]" in error.message, error.message
    fresh = KeyClient(VAULT, secret(info), **TLS)
    assert fresh.get_key("troubled").id != key.id
    assert len(list(fresh.list_properties_of_key_versions("troubled"))) == 2


async def asynchronously():
    credential = identity_aio.ClientSecretCredential(
        TENANT, info["client_id"], info["client_secret"], **LOGIN
    )
    client = keys_aio.KeyClient(VAULT, credential, **TLS)
    async with credential, client:
        key = await client.create_rsa_key("async")
        crypto = client.get_cryptography_client("async")
        wrapped = await crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, DEK)
        opened = await crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key)
        assert opened.key == DEK
        names = {item.name async for item in client.list_properties_of_keys()}
        assert "async" in names
        await client.delete_key("async", **POLL)
        recovered = await client.recover_deleted_key("async", **POLL)
        assert recovered.id == key.id


@check
def the_asynchronous_clients():
    asyncio.run(asynchronously())


for function in CHECKS:
    function()
    print("ok", function.__name__, flush=True)
