from django.db import migrations

from registration.change_stamps import StampChanges


class Migration(migrations.Migration):
    """What decides about a student's enrollment status, and what a calendar shows, says when it changed last. Since when
    those who are there already have their status, nobody has written down."""

    dependencies = [("registration", "0014_status_for_partners")]

    operations = [
        migrations.RunSQL("UPDATE registration_student SET status_since_at = NULL", migrations.RunSQL.noop),
        StampChanges("registration_student", "status_since_at", watched=["status"]),
        StampChanges(
            "registration_student", "changed_at", watched=["status", "program_id", "disclosure_hold"]
        ),
        StampChanges(
            "registration_enrollment",
            "changed_at",
            watched=["status", "section_id", "seat_given_up_on", "seat_given_up_by"],
        ),
        StampChanges("registration_section", "changed_at", watched=["course_id", "term_id"]),
        StampChanges("registration_course", "changed_at", watched=["credits"]),
        StampChanges("registration_program", "changed_at", watched=["full_time_credits", "college_id"]),
        StampChanges(
            "registration_term",
            "changed_at",
            watched=["code", "name", "starts_on", "ends_on", "census_on"],
        ),
        StampChanges(
            "registration_calendarevent", "changed_at", watched=["kind", "name", "starts_on", "ends_on"]
        ),
    ]
