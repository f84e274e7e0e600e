"""What the data looks like: Arrow schemas, typed records, jurisdictions and orders as data."""
