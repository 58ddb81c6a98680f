"""From a request and the catalog to a Plan: pure functions, no file is read."""
