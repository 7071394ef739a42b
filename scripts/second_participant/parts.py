"""Long messages in parts ("Parts" in docs/protocol.md)."""

from contract import Refused

# What may come in parts, with the lists that the parts divide.
LISTS = {
    "key_list": ("adverts", "heads"),
    "shares_delivery": ("statements", "sealed", "others"),
}


class Parts:
    """What has come of a message of one attempt, whose cohort has `members`."""

    def __init__(self, members):
        self.members, self.held, self.last = members, None, None

    def whole(self, kind, part):
        """The message, or None while parts are missing. A first part begins anew; what breaks a rule drops what was held."""
        held, last = self.held, self.last
        self.held = self.last = None
        parts = max(1, part.parts)
        if parts > 1 and not any(len(getattr(part, name)) for name in LISTS[kind]):
            raise Refused("a part without items")
        if part.part == 0:
            held = type(part)()
        elif held is None or last != (kind, part.part - 1, parts) or held.id != part.id:
            raise Refused("a part that does not follow the one before it")
        # Lists are appended to.
        held.MergeFrom(part)
        if any(len(getattr(held, name)) > self.members for name in LISTS[kind]):
            raise Refused("more items than members")
        if part.part + 1 == parts:
            held.ClearField("part")
            held.ClearField("parts")
            return held
        self.held, self.last = held, (kind, part.part, parts)
        return None
