"""The command line of the search: options in, tables, reports and progress out."""
