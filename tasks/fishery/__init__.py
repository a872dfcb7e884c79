"""Games of quantities: a fishery that all exploit, and a market that all supply."""
