"""From the results of runs to a decision that a release manager can sign. Needs no cluster and imports no check."""
