"""The scores: one row per subject and jurisdiction, with the bars that add up to it."""

import pyarrow as pa

BAR = pa.struct(
    [
        pa.field("family", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("weight_mb", pa.int64(), nullable=False),
        pa.field("n_records", pa.int64(), nullable=False),
        pa.field("n_episodes", pa.int64(), nullable=False),
        pa.field("null_reason", pa.string()),
        pa.field("rival", pa.string()),
    ]
)
"""What one family of signals adds, in integer millibits: `prior_mb + sum(weight_mb) == score_mb`, exactly."""

BARS = pa.list_(pa.field("item", BAR, nullable=False))

SCORES = pa.schema(
    [
        pa.field("subject_id", pa.large_string(), nullable=False),
        pa.field("jurisdiction", pa.string(), nullable=False),
        pa.field("probability", pa.float64(), nullable=False),
        pa.field("tier", pa.string(), nullable=False),
        pa.field("evidence_class", pa.string(), nullable=False),
        pa.field("prior_mb", pa.int64(), nullable=False),
        pa.field("score_mb", pa.int64(), nullable=False),
        pa.field("bars", BARS, nullable=False),
    ],
    metadata={"lethe": "scores/1"},
)

TIERS = ("erase", "review", "keep", "insufficient")
EVIDENCE_CLASSES = ("rich", "poor", "none")

PLACEMENTS = pa.schema(
    [
        pa.field("subject_id", pa.large_string(), nullable=False),
        pa.field("record_id", pa.large_string(), nullable=False),
        pa.field("face_id", pa.large_string(), nullable=False),
    ],
    metadata={"lethe": "placements/1"},
)
"""Which records and faces a subject has: what turns a score into manifest entries."""
