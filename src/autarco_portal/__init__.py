"""What people see: owners, sites, rights and guarantees as views on the readings table.

The portal's room. It reads the lake through `autarco_ingest.schema` and
`autarco_ingest.catalog` and never writes readings; its modules come with its own issue.
"""
