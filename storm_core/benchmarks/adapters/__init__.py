"""Each contender runs in a process of its own and speaks the protocol of `storm_core.benchmarks.protocol`."""
