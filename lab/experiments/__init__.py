"""What is done to a lab that is up to learn something: the demo site and its proof, load, runs of scenarios (lab/scenarios)."""
