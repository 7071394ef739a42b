"""This organisation: its sealed identity key, its roster, its consent, and the uplink beside it."""

import pathlib
import tomllib

import grpc
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import wire
from contract import Refused
from encoding import canonical, digest


class Organisation:
    """Reads the configuration that the Rust participant reads, and asks the uplink who it is."""

    def __init__(self, config_path, channel):
        base = pathlib.Path(config_path).parent
        config = tomllib.loads(pathlib.Path(config_path).read_text(encoding="utf-8"))
        node = config["node"]
        self.consent = tomllib.loads((base / config["consent"]).read_text(encoding="utf-8"))
        self.datasets = {name: base / data["path"] for name, data in config["datasets"].items()}
        self.state = base / node["state_dir"]
        self.identity = _open_identity(self.state, base / node["dangerous_state_key_file"], node["organisation"])
        self.uplink = wire.uplink_rpc.UplinkServiceStub(channel)
        self._learn_roster(node["organisation"])

    def _learn_roster(self, name):
        told = self.uplink.Describe(wire.uplink.DescribeRequest(), timeout=10)
        public = self.identity.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        entry = lambda e: [e.identity, e.chip_id, e.host_data]
        members = [part for e in told.members for part in (e.organisation, *entry(e))]
        root = digest(
            "consort/roster/v1", told.consortium, told.roster_version, *entry(told.coordinator), len(told.members), *members
        )
        if root != told.roster_root:
            raise Refused("the uplink's roster does not have the root it says")
        self.organisation, self.consortium, self.roster_root = told.organisation, told.consortium, told.roster_root
        self.coordinator = told.coordinator.identity
        self.identities = {e.organisation: e.identity for e in told.members}
        if told.organisation != name or self.identities.get(name) != public:
            raise Refused("the uplink serves another organisation, or the roster has another key")
        self.simulated = told.dangerous_simulated_attestation

    def sign(self, message):
        return self.identity.sign(message)

    def verify(self, identity, message, signature):
        try:
            Ed25519PublicKey.from_public_bytes(identity).verify(signature, message)
        except InvalidSignature:
            raise Refused("a signature does not hold") from None

    def evidence(self, open_, mask_key, share_key):
        request = wire.uplink.RoundKeyEvidenceRequest(open=open_, mask_key=mask_key, share_key=share_key)
        try:
            return self.uplink.RoundKeyEvidence(request, timeout=30).evidence
        except grpc.RpcError as error:
            raise Refused(f"R4: no evidence: {error.details()}") from None

    def judge(self, open_, advert):
        verdict = self.uplink.JudgeEvidence(wire.uplink.JudgeEvidenceRequest(open=open_, advert=advert), timeout=30)
        if not verdict.accepted:
            raise Refused(f"R7: the evidence of member {advert.member} is refused: {verdict.code}")


def _open_identity(state, key_file, name):
    """The seed of the identity key: a nonce of 12 bytes, then ChaCha20-Poly1305."""
    key = bytes.fromhex(pathlib.Path(key_file).read_text(encoding="ascii").strip())
    sealed = (state / "identity.sealed").read_bytes()
    bound_to = canonical("consort/vault/state/v1", "identity", name)
    return Ed25519PrivateKey.from_private_bytes(ChaCha20Poly1305(key).decrypt(sealed[:12], sealed[12:], bound_to))
