"""What people see of a run: the table while it goes on, and the page afterwards."""
