"""Co-player pools: in a share of the environments somebody else takes a learner's seat while the others train."""
