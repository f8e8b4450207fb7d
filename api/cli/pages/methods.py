"""docs/methods.md, generated from the catalogue of methods."""

from collections.abc import Mapping
from typing import Any

from api.cli.pages.parameters import number_text, parameter_rows
from core.unlearning.objectives import METHODS, describe

_HEAD = """# Methods

Made by `unlearn methods --markdown > docs/methods.md`. A test holds the page equal to the catalogue that the service
itself reads. `GET /v1/methods` gives the same in JSON.

Every objective is `forget_weight` · (forget term) + `retain_weight` · (retain term), and is minimised. The formulas
below are the forget terms. The retain term is one of

- `none`: there is no retain term;
- `descent`: mean_z (1/n) Σ_t l_t, the model trains on the retain set;
- `kl`: mean_z (1/n) Σ_t KL(p0 ‖ p), the model keeps the reference model's distribution on the retain set;
- `hidden` (`rmu` alone): the model keeps the reference model's hidden states of one layer on the retain set.

Symbols: a record x has n scored tokens: all but the first of a plain text, or those of the completion.
l_t = -log p(x_t | x_<t), in nats. p0, l0, z0 belong to the reference model θ0: the model as it was before the job.
"The original" in formulas and tables below is the same model.
mean_x is the mean over the records of an update, however the update is cut into micro-batches. (The seed paper, arXiv
2402.15159, sums over tokens. Its released code and this service average within a record, then over records.) *Needs*
lists what a job with default parameters requires: sets of records, and `original`, outputs of the reference model that
are computed once before training.

The learning rates are for small models (up to 20 million weights) and for large models (from a billion on). In between,
the rate is interpolated geometrically, and the other values are those of the nearer size. `training` of a request
overrides all of them.

"""


def page() -> str:
    """Returns the whole page."""
    methods = [describe(name) for name in sorted(METHODS)]
    links = "\n".join(f"- [`{method['name']}`](#{method['name']})" for method in methods)
    return f"{_HEAD}{links}\n" + "".join(_section(method) for method in methods)


def _section(method: Mapping[str, Any]) -> str:
    training, source = method["training_defaults"], method["source"]
    recipe = "; ".join(
        f"{size} models: learning rate {number_text(defaults['learning_rate'])}, epochs {defaults['epochs']},"
        f" {defaults['records_per_step']} records an update"
        for size, defaults in training.items()
    )
    parameters = "\n".join(parameter_rows(method["parameters"]["properties"], method["defaults"]))
    return f"""
## {method["name"]}

{method["summary"]}

    {method["formula"]}

Needs: {", ".join(method["needs"])}. Paper: [{source["title"]}]({source["url"]}).
{recipe[0].upper()}{recipe[1:]}.

| parameter | default | allowed | meaning |
|---|---|---|---|
{parameters}
"""
