"""An account of each study: what was received of it, what left, and what is missing and why.

The programs that receive and send on note what happens to each object; the ledger keeps it, in
SQLite, in the data directory. Objects, series and studies stand in it under the UIDs that leave,
patients under a hash with the node's own key, and pseudonyms are what researchers see anyway. All
that can name a patient in it are the names of structures that were replaced, which it keeps for
the custodian, beside what became of them.

==========  =======================================================================================
Module      What it does
==========  =======================================================================================
`identity`  what one object says of itself
`uids`      what the rendered script makes of a UID, and the hash of a patient
`ledger`    the rows: one for each object, by its latest state; study by study, counted
`journal`   what has happened and is not in the ledger yet, for a kill
`verdict`   whether a series and a study are complete, and if not, what is missing and why
`account`   takes what happens from many threads, writes it in batches, answers questions
==========  =======================================================================================

Needs nothing but Python, and ``ctp_rules`` to read the script.
"""
