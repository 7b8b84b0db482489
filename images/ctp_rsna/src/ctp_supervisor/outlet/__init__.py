"""The way to Orthanc's machine, over TLS, for a CTP that speaks none: a program of its own."""
