"""The de-identification rules that are rendered for CTP, read a second time.

CTP's anonymizer script is a list of what becomes of each element; its filter script says what may
leave. This package reads both and does what CTP does, so that the stand-in follows the same rules
as production, and so that what CTP made of an object can be compared with what it should have made
of it. It has no rules of its own and never passes what it does not understand.

==================  ===============================================================================
Module              What it does
==================  ===============================================================================
`script`            reads an anonymizer script (XML); refuses what it cannot interpret
`anonymizer`        ``Anonymizer(script).run(data set, lookup)``: the new data set, and for each
                    element that came in what became of it
`comparison`        compares those outcomes with an object that left
`names`             which name of a structure became which
`refusals`          says what the script holds an object back for, in one word
`filter_script`     reads a filter script and asks it
`elements`          values as CTP sees them: its representations, trimming, character sets
`reading`           reads a file so that elements come as CTP sees them
==================  ===============================================================================

Needs pydicom. Facts about CTP are those of its source (DICOMAnonymizer, DICOMAnonymizerContext,
FnCall, AnonymizerFunctions, DicomObject; May 2025) and of the dcm4che 1.4 that it brings; where a
comment says "measured", stock CTP was run.
"""
