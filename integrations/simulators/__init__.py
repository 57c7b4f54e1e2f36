"""Stand-ins for external systems, over real HTTP: for the demo, for development and for tests.

They know nothing of the product; they behave as their vendors' systems do, and check what they are sent.
"""

from __future__ import annotations

from integrations.simulators.aid import AidOffice
from integrations.simulators.feed import Feed
from integrations.simulators.housing import HousingOffice
from integrations.simulators.koha import Koha
from integrations.simulators.starrez import StarRez
from integrations.simulators.system import System

FEEDS: dict[str, type[Feed]] = {feed.name: feed for feed in (AidOffice, HousingOffice, StarRez)}
SYSTEMS: dict[str, type[System]] = {**FEEDS, Koha.name: Koha}
