"""DICOM as far as it is read here: the PDUs of the upper layer, commands, headers of files."""
