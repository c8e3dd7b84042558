"""Configs: one page an experiment family, each with `get_config(variants)`."""
