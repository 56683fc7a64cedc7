"""SOM, full backend: a network that finds an object from reference views by hierarchical attention (STORM's HSFA).

Only `settings`, `window`, `channels`, `instances` and `prompts` can be imported without torch.
"""
