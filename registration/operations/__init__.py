"""What may be done to registration's records: each a change, its audit event and its domain signal, in one
transaction. The admin, the API, the commands and the sync engine all come through here.

One module for each kind of record; whoever calls names the operation alone.
"""

from registration.operations.billing import (
    Line,
    apply_run_to_ledger,
    correct,
    open_account,
    post,
    refund,
    void,
)
from registration.operations.enrollment import drop, enroll, withdraw
from registration.operations.fee_changes import approve_fee_change, refuse_fee_change
from registration.operations.fee_decisions import FeeDecisions, decide_fee_changes
from registration.operations.fees import (
    Assessment,
    assess_fees,
    follow_fees,
    follow_fees_of,
    follow_residency,
)
from registration.operations.graduation import Graduation, graduate
from registration.operations.housing import contact_of, record_assignment
from registration.operations.housing_runs import HousingPlan, apply_housing_plan, fee_effects_of
from registration.operations.library import (
    Sweep,
    approve_library_sweep,
    deprovision_by_hand,
    follow_enrollment_again,
    follow_library_access,
    note_library_status,
    provision_by_hand,
    sweep_library_access,
)
from registration.operations.refusal import Refused

__all__ = [
    "Assessment",
    "FeeDecisions",
    "Graduation",
    "HousingPlan",
    "Line",
    "Refused",
    "Sweep",
    "apply_housing_plan",
    "apply_run_to_ledger",
    "approve_fee_change",
    "approve_library_sweep",
    "assess_fees",
    "contact_of",
    "correct",
    "decide_fee_changes",
    "deprovision_by_hand",
    "drop",
    "enroll",
    "fee_effects_of",
    "follow_enrollment_again",
    "follow_fees",
    "follow_fees_of",
    "follow_library_access",
    "follow_residency",
    "graduate",
    "note_library_status",
    "open_account",
    "post",
    "provision_by_hand",
    "record_assignment",
    "refund",
    "refuse_fee_change",
    "sweep_library_access",
    "void",
    "withdraw",
]
