"""What people see: owners, sites, rights and guarantees as views on the readings table.

It reads the lake through `autarco_ingest.schema` and `autarco_ingest.catalog` and never writes
readings. What is here so far are rules: values in, values out.
"""
