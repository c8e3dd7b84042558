"""Run folders: records, checkpoints, figures, reports."""
