"""docs/methods.md, written from the catalogue, so that what it says is what the service does."""

from collections.abc import Mapping
from typing import Any

from api.cli.parameters import number_text, parameter_rows
from core.unlearning.objectives import METHODS, describe

_HEAD = """# Methods

Made by `unlearn methods --markdown > docs/methods.md`; a test holds it to the catalogue that the service itself reads.
The same in JSON: `GET /v1/methods`.

Every objective is `forget_weight` · (forget term) + `retain_weight` · (retain term), and is minimised. The formulas
below are the forget terms. The retain term is one of

- `none`: nothing holds what is not to be forgotten;
- `descent`: mean_z (1/n) Σ_t l_t, the retain set is trained on;
- `kl`: mean_z (1/n) Σ_t KL(p0 ‖ p), the retain set keeps the original model's distribution;
- `hidden` (`rmu` alone): the retain set keeps the original's hidden states in one layer.

Signs: a record x has n scored tokens (of a plain text all but the first, else those of the completion);
l_t = -log p(x_t | x_<t) in nats; p0, l0, z0 are the original model's, which is the model as the job found it; mean_x is
the mean over the records of an update, however it is cut into micro-batches. (The seed paper, arXiv 2402.15159, sums
over tokens; its released code and this service average within a record, then over records.) *Needs* names what a job
with default parameters cannot do without: sets of records, and `original`, which is figures of the original model that
are computed once before training.

Learning rates are those of small models (up to 20 million weights) and of large ones (from a billion on); in between,
the rate moves geometrically, and the rest is that of the nearer. `training` of a request overrules all of it.

"""


def page() -> str:
    """The whole page."""
    methods = [describe(name) for name in sorted(METHODS)]
    listed = "\n".join(f"- [`{one['name']}`](#{one['name']})" for one in methods)
    return f"{_HEAD}{listed}\n" + "".join(_section(one) for one in methods)


def _section(method: Mapping[str, Any]) -> str:
    training, source = method["training_defaults"], method["source"]
    recipe = "; ".join(
        f"{size} models: learning rate {number_text(one['learning_rate'])}, epochs {one['epochs']},"
        f" {one['records_per_step']} records an update"
        for size, one in training.items()
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
