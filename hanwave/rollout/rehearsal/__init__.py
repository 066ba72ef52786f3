"""A campaign in virtual time: the rules that run, over a population that is drawn from a profile of behaviour."""
