"""What guards the archive, as far as it can be said without Orthanc."""
