"""How alerts reach people: who wants to be told (`people.py`), what they are owed (`owed.py`), the letters (`letters.py`)
and their sending, once each, whoever is killed meanwhile (`sending.py`)."""

from integrations.notices.people import administrators
from integrations.notices.sending import CLAIM, send_alerts

__all__ = ["CLAIM", "administrators", "send_alerts"]
