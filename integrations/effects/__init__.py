"""Effects going out, one module for each kind of thing that has to happen outside."""

from __future__ import annotations

from integrations.effects.alerts import TELL
from integrations.effects.base import Effect
from integrations.effects.library import DEPROVISION, PROVISION

EFFECTS: dict[str, Effect] = {effect.kind: effect for effect in (PROVISION, DEPROVISION, TELL)}

__all__ = ["EFFECTS", "Effect"]
