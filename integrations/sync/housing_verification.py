"""Whether housing still says what the applied records say. What a person has edited since is their decision."""

from __future__ import annotations

from typing import Final

from integrations.models import Change
from integrations.sync.held import links_held_by
from registration.models import HousingAssignment

_ROW, _CHANGE = HousingAssignment._meta.db_table, Change._meta.db_table
_LINK = links_held_by(HousingAssignment)
_SAID = (
    f"SELECT place.id, link.key FROM {_LINK} AS link JOIN {_ROW} AS place ON place.id = link.object_id "
    f"JOIN {_CHANGE} AS change ON change.id = link.change_id WHERE place.edited_at IS NULL "
)
# As in integrations.sync.verification: a rule's name, the sentence for a fault, and the statement that finds it.
HOUSING_RULES: Final = (
    (
        "record_without_room",
        "Record {0} is live and stands for housing assignment {1}, which is missing.",
        f"SELECT link.key, link.object_id FROM {_LINK} AS link LEFT JOIN {_ROW} AS place ON place.id = link.object_id "
        "WHERE link.object_id IS NOT NULL AND place.id IS NULL",
    ),
    (
        "room_without_record",
        "Housing assignment {0}, recorded by run {1}, is kept for a student, and no live record stands for it.",
        f"SELECT place.id, place.recorded_run FROM {_ROW} AS place WHERE place.status IN ('assigned', 'checked_in') "
        "AND place.recorded_run IS NOT NULL AND place.edited_at IS NULL "
        f"AND NOT EXISTS (SELECT 1 FROM {_LINK} AS link WHERE link.object_id = place.id)",
    ),
    (
        "room_differs",
        "Housing assignment {0} is of another room, status or student than record {1} says.",
        f"{_SAID} AND (place.hall <> change.after ->> 'hall' OR place.room <> change.after ->> 'room' "
        "OR place.status <> change.after ->> 'status' OR place.student_id <> change.student_id)",
    ),
    (
        "campus_differs",
        "Housing assignment {0} is on campus where record {1} is not, or the other way round.",
        f"{_SAID} AND place.on_campus <> (CAST(change.after ->> 'on_campus' AS text) IN ('true', '1'))",
    ),
)
