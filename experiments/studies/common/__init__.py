"""What the studies share: pages, figures, small trainings."""
