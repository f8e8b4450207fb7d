"""Registration of models: their sources, the checks that they pass, and adapters that become models."""
