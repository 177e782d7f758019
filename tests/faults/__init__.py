"""How each fault of the catalogue is seen from outside, on any cluster: the tables, and the suite that holds processes and containers against them."""
