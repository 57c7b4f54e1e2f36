"""Domain signals: what registration tells whoever must carry a change out of the house.

Sent inside the transaction of the change, by the operations alone; one signal for a change, and one for a whole
bulk change. `integrations.receivers` is the only listener.
"""

from django.dispatch import Signal

# Sent with `enrollment`: a student took or gave up a seat.
enrollment_changed = Signal()
# Sent with `run` (id of the sync run, or None) and `entries` (how many): bills changed.
ledger_changed = Signal()
# Sent with `run` (id of the sync run, or None) and `students` (their ids): where somebody lives changed.
housing_changed = Signal()
# Sent with `students` (their ids, or None: whoever it may be): the library has to be asked for something.
library_changed = Signal()
