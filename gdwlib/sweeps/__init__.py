"""Many runs: which, and how they are trained in a time or on a cluster."""
