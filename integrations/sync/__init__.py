"""The road of a record: run, extract, map, validate, stage, plan, guard, apply, certify."""
