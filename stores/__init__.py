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
    ledger              what makes the replacement survive a kill at any moment
    thrift              the Thrift compact protocol as a tree, for the footer

Beside `faiss.py`, the store of index files, `faiss_index` builds an index again of some of its vectors; beside
`lance.py`, the store of Lance tables, `lance_index` makes the indexes of one anew. Stores whose units are files derive
from `file_store`, those whose rows are deleted by their own software from `tables`.

The verifier in `audit/` shares no code with any of these, on purpose.
"""
