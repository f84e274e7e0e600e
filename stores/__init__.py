"""Where face vectors live, and how they are destroyed: one module a kind of store, no Beam.

`contract.py` says what every store does: describe itself, locate keys, purge them, clean up after a crash.
`keys.py` holds the ids to delete. `parquet.py` is the store of Parquet files; beside it, in the order data
flows:

    parquet_inventory   which files belong to the store, and which roots must not be rewritten file by file
    parquet_locate      identity of a file, positions of the keys in it
    parquet_physical    a file read and written at the level of physical types, footer kept verbatim
    parquet_layout      how each column was written: codec, encodings, statistics, indexes
    parquet_metadata    key/value metadata without the purged ids
    parquet_rewrite     the surviving rows written aside, and checked
      parquet_assemble  a new file put together from column chunks: copied, cut or encoded anew
      parquet_copy, _splice, _encode      the three ways a chunk gets there
      parquet_pages, _shape, _levels      pages, rows of one width, run lengths
      parquet_schema, _chunks, _sink      what the footer says, and the file while it is written
      parquet_proof     the new file held against the old one, before it takes its place
    thrift              the Thrift compact protocol as a tree, for the footer

The other kinds, which `kinds` opens by name:

    parquet_s3          the same files as objects; s3_versions, s3_tables
    deepface_sqlite, deepface_postgres    DeepFace's databases; deepface_rows, deepface_index, postgres_clean
    faiss               index files; faiss_index
    lance               Lance tables; lance_index
    delta, iceberg      table formats; delta_log, iceberg_table, iceberg_commit, table_files

Stores whose units are files derive from `file_store`, those whose rows are deleted by their own software from `tables`;
`ledger` makes both survive a kill at any moment, and `canaries` plants synthetic people.

The verifier in `audit/` shares no code with any of these, on purpose.
"""
