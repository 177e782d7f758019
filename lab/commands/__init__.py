"""What the commands of the command line do, one file each. cli.py has their names, options and help, and loads only the one that is asked for."""
