"""Decisions about pairs of measurements: which benchmarks are slower, and by how much. Pure.

A benchmark runs in pairs, once of the baseline and once of the change, in the order A B B A. If
nothing changed, both runs of a pair are exchangeable, so the logarithm of their ratio is symmetric
around 0, whatever its distribution is: heavy tails, two clocks, a drift. The signed-rank test of
Wilcoxon needs nothing else, and is exact for few pairs (`signed_rank`). `decision` looks at the
pairs several times, `family` at all benchmarks of a change together, and `faults` at pairs that say
nothing.
"""
