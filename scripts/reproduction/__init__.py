"""What the scripts that reproduce the paper share: scales, data, trained networks with their test results, tables."""
