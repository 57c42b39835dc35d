"""Plans: the jobs of an experiment, frozen with the code that they run from."""
