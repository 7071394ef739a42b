"""docs/protocol.md, "Statements of machines": what evidence is asked to say, part by part."""

import hashlib

from encoding import digest, fixed, part, sha256

# What TLS keys look like in a statement: any bytes do here.
SPKI = {role: fixed(f"spki of the {role}", 91) for role in ("participant", "coordinator")}


def statement(domain, **parts):
    content = domain.encode() + b"\x00" + b"".join(part(value) for value in parts.values())
    told = {name: value.hex() if isinstance(value, bytes) else value for name, value in parts.items()}
    return {"domain": domain, "parts": told, "bytes": content.hex(), "report_data": hashlib.sha512(content).hexdigest()}


def file(agreed, opened, keys):
    """The round keys are those of the attempt's first two members."""
    terms, in_force = opened["terms"], bytes.fromhex(agreed["manifests"][-1]["hash"])
    consortium = sha256(terms["consortium"].encode())
    about = {"protocol": 2, "consortium": consortium, "manifest": in_force, "job": b""}
    context = digest("consort/attest/context/v1", *about.values())

    def round_keys(advert):
        cohort = {m["index"]: m for m in terms["cohort"]}
        own = cohort[advert["member"]]
        return statement(
            "consort/attest/round-keys/v1",
            identity_key=bytes.fromhex(own["identity"]),
            job=terms["job"],
            round=terms["round"],
            announcement=bytes.fromhex(opened["announcement"]),
            organisation=own["organisation"],
            mask_key=bytes.fromhex(advert["mask_key"]),
            share_key=bytes.fromhex(advert["share_key"]),
            manifest=in_force,
        )

    def session(role, peer):
        return statement(
            "consort/attest/session/v1",
            role=role,
            own_spki=SPKI[role],
            peer_spki=SPKI[peer],
            exporter=fixed("exporter"),
            server_nonce=fixed("nonce of the server"),
            client_nonce=fixed("nonce of the client"),
            context=context,
        )

    own = terms["cohort"][0]
    return {
        "round_keys": [round_keys(advert) for advert in keys["adverts"][:2]],
        "contexts": [{**{n: v.hex() if isinstance(v, bytes) else v for n, v in about.items()}, "context": context.hex()}],
        "sessions": [session("participant", "coordinator"), session("coordinator", "participant")],
        "identities": [
            statement(
                "consort/attest/identity/v1",
                organisation=own["organisation"],
                identity_key=bytes.fromhex(own["identity"]),
                manifest=in_force,
                log_head=bytes.fromhex(terms["log_head"]),
            )
        ],
        "certificates": [
            statement(
                "consort/attest/cert/v1",
                role=role,
                own_spki=SPKI[role],
                not_before_unix_s=1_924_992_000,
                not_after_unix_s=1_924_992_000 + 86_400,
            )
            for role in SPKI
        ],
    }
