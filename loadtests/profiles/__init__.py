"""One module per kind of viewer; the locustfiles beside this folder choose among them."""
