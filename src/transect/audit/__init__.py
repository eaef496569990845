"""The audit: what a survey holds, what is broken in it, what leaks, how new pictures differ."""

from transect.audit.crops import find_crops
from transect.audit.duplicates import find_duplicates, hash_pairs
from transect.audit.findings import AuditReport, Finding, Link
from transect.audit.fingerprints import Prints, take_prints
from transect.audit.leaks import leak_free, propose_groups, write_groups
from transect.audit.look import cluster, contact_sheet, next_images
from transect.audit.mosaics import Seam, find_seams, reassemble
from transect.audit.noise import doubtful_answers, doubtful_labels, doubtful_values
from transect.audit.run_audit import audit
from transect.audit.shift import Shift, adversarial_validation
from transect.audit.stored import (
    audit_once,
    closing_groups,
    fill_report,
    keep_audit,
    keep_doubts,
    leaks_of,
    run_groups,
)

__all__ = [
    "AuditReport",
    "Finding",
    "Link",
    "Prints",
    "Seam",
    "Shift",
    "adversarial_validation",
    "audit",
    "audit_once",
    "closing_groups",
    "cluster",
    "contact_sheet",
    "doubtful_answers",
    "doubtful_labels",
    "doubtful_values",
    "fill_report",
    "find_crops",
    "find_duplicates",
    "find_seams",
    "hash_pairs",
    "keep_audit",
    "keep_doubts",
    "leak_free",
    "leaks_of",
    "next_images",
    "propose_groups",
    "reassemble",
    "run_groups",
    "take_prints",
    "write_groups",
]
