"""The way out to Orthanc: the last look at what leaves, and what becomes of it."""
