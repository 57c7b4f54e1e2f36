"""Lists of the partner API, each declared as a table of fields and answered by one statement.

`fields.py` has what is declared, `query.py` what a caller may ask, `cursors.py` the names of pages, `sql.py` the statement,
`answers.py` what is sent, `views.py` the doors.
"""
