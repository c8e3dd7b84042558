"""The fundamentals, a module a study, each with `run(study) -> rows`."""
