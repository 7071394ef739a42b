"""This participant as a witness of the coordinator's audit log (docs/protocol.md, "The log and its witnesses")."""

import base64
import os
import time

import wire
from contract import Refused
from encoding import sha256

SIGNATURE = "\u2014 "


class Witness:
    """Keeps the checkpoint of the longest log it has seen on disk; an announcement must be bound to that log."""

    def __init__(self, site, channel):
        self.site, self.file = site, site.state / "second_participant.log-head"
        self.rpc = wire.audit_rpc.WitnessServiceStub(channel)
        self.origin = f"{site.consortium}/audit"

    def believe(self, log_head):
        """R20a and R20b; then the head is on disk, and co-signed when it is the longest."""
        kept = self.file.read_text(encoding="utf-8") if self.file.exists() else None
        if kept is not None and sha256(kept.encode()) == log_head:
            return
        old_size, old_root = self._head(kept)[:2] if kept is not None else (0, None)
        request = wire.audit.ProveHeadRequest(log_head=log_head, kept_entries=old_size)
        shown = self.rpc.ProveHead(request, timeout=30)
        if sha256(shown.checkpoint.encode()) != log_head:
            raise Refused("R20a: not the announced checkpoint")
        size, root, text = self._head(shown.checkpoint)
        if old_root is not None:
            proof = [shown.proof[i : i + 32] for i in range(0, len(shown.proof), 32)]
            (small, first), (large, last) = sorted([(old_size, old_root), (size, root)])
            if not extends(small, first, large, last, proof):
                raise Refused(f"R20b: the log of {size} entries is not shown to be that of {old_size}")
            if size < old_size:
                return
        self._keep(shown.checkpoint)
        now = int(time.time())
        signed = self.site.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
        self.rpc.Cosign(wire.audit.CosignRequest(log_head=log_head, cosignature=now.to_bytes(8) + signed), timeout=30)

    def _head(self, note):
        """Size, root and text of a checkpoint that the coordinator signed for this consortium's log."""
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        origin, size, root = text.splitlines()
        key_id = sha256(self.origin.encode() + b"\n\x01" + self.site.coordinator)[:4]
        lines = [line.removeprefix(SIGNATURE).split(" ") for line in signatures.splitlines()]
        own = [base64.b64decode(line[1]) for line in lines if line[0] == self.origin]
        own = [blob[4:] for blob in own if blob[:4] == key_id]
        if origin != self.origin or not own:
            raise Refused("R20a: not the coordinator's log")
        for signature in own:
            self.site.verify(self.site.coordinator, text.encode(), signature)
        return int(size), base64.b64decode(root), text

    def _keep(self, note):
        temporary = self.file.with_suffix(".new")
        with open(temporary, "w", encoding="utf-8") as out:
            out.write(note)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, self.file)
        folder = os.open(self.file.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def extends(old_size, old_root, new_size, new_root, proof):
    """Whether the proof shows that the larger tree begins with the smaller one (RFC 9162 section 2.1.4.2)."""
    if old_size in (0, new_size):
        return not proof and (old_root == new_root if old_size == new_size else old_root == sha256(b""))
    proof = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not proof:
        return False
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = sha256(b"\x01" + sibling + old), sha256(b"\x01" + sibling + new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = sha256(b"\x01" + new + sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and (old, new) == (old_root, new_root)
