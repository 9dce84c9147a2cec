"""What is made of records: tables, figures, HTML."""
