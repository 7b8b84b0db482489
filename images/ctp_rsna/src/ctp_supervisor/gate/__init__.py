"""The gate, a program of its own at the DICOM port: who may come in, and who waits for CTP."""
