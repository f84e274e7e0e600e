"""The independent verifier: proof that what was listed is gone from a store and that everything else is still there.

It shares no code with the purge it checks, and reads a store as files, not through the store's own software.

    inventory   every file below a root, hidden and unfinished ones too
    baseline    before a purge: the surviving rows' digest, and keyed fingerprints of the listed rows' vectors
    check       after it, one file at a time: residue of ids and vectors in any byte, and the digest of its rows
    control     a positive control: planted ids and vectors must be found, or the scan proves nothing
    verdict     CLEAN, RESIDUE or UNVERIFIED per store, and whether rows were lost

`reader` says how it reads a kind of store, one `*_reader` module each, and `readers` opens them by name. Underneath:
`rows` (digest), `fingerprints` and `fingerprint_files`, `needles`, `needle_files`, `runs`, `sieves` and `scan` (search,
with what is sought on disk), `examine` (what is in some bytes), `containers` (which
format they are), `parquet`, `pages`, `compact` and `bloom` (Parquet's), `avro`, `jsontext`, `lance_file`, `faiss_file`,
`sqlite`, `postgres` and `pglz` (others'), `arrays` and `siphash`.
"""
