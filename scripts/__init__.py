"""One question a file: reproductions, benchmarks. A package, lest another one of this name be found before it."""
