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

## Tuning

A request that sets no learning rate is tuned (`training.tune` is `auto`): the rates and epochs below are then where the
search begins and the longest training. `"tune": "off"` trains exactly as it is set.

1. **Range test.** Trial updates at rising rates go on until a tenth of the way from the forget set's loss to that of
   unseen text is gone, or until held-out retain text is 0.1 nats per token less likely. An adaptive optimiser moves the
   weights by about the sum of its rates. That sum, divided by 5 to 16 updates, is the learning rate. The weights are
   put back. The event `tuned` has the result.
2. **Readings.** About 15 times, the job reads how the model treats 48 forget records, 48 calibrating unseen records
   and up to 48 retain records that no term trains on: the mean loss, the largest fifth of the losses (as min-k does)
   and the entropy (as min-k++ does). Except for the forget set, none of these records is measured for the report.
   A reading has a distance between forget and unseen text, and the harm to retain and to unseen text, in multiples of
   what is tolerated. The forget term's weight is multiplied by distance / max(1, harm), within 0.1 and 1: once the harm
   exceeds the distance, the retain terms repair it. While the distance is over 1 and the harm under 1, each reading
   raises the learning rate by half, to 16 times the range test's at most.
3. **Stop.** The training stops after two readings in a row within what is tolerated (forget and unseen are as close as
   two samples of unseen text are in nine of ten cases; the retain loss is up by at most 0.02, the unseen loss by at
   most 0.04), when 60 % of the updates bring no better state, or when a loss is no finite number.
   A schedule `wsd` keeps the full rate for 60 % of the updates at most. After two readings in a row with a distance of
   1 or less it lowers the rate, and the training ends so much earlier. The updates without a better state count from
   there.
4. **Best state.** The checkpoint holds the state whose worst reading is the least. The event `trained` has its
   readings. Where the model as it came is the best state, the job fails with `no_better_state`.

Models of more than 20 million weights take steps of fewer records than the recipe's, so that there are 80 updates where
the records allow it, and 18 epochs at most: what the first updates harm, later ones repair. A request that sets epochs
or `records_per_step` decides itself.

A forget set that the model does not know is left alone: the job ends with the outcome `nothing_to_forget`, without a
checkpoint, and with a verdict on the model as it is. That is so where the figures show it, or where each record is as
unlikely as the unseen record of its rank and no figure shows that the model knows it. Text of another kind than the
unseen text may be far less likely: bounds on that are then not judged. `calibrated` also leaves out single records that
are as unlikely as unseen ones.

Tuning costs the trial updates (about 10), the readings (forward passes over at most 144 records each), and memory for
one copy of the trained weights.

## Gradients that conflict

`training.conflicting_gradients: project` keeps the forget term from undoing what the retain terms repair, whatever the
method. m ← 0.9 m + 0.1 r follows the retain terms' gradient r, on the trial updates, too. In each weight tensor whose
forget gradient g points against m (g·m < 0), g becomes g - (g·m / m·m) m. (GRU, arXiv 2503.09117, tensor by tensor.) A
defence against relearning changes g first. The projection takes memory for two more gradients, and runs on one GPU.
`calibrated` projects on models of up to about 140 million weights, on one GPU or the CPU; every other default is `add`.

## Forgetting that lasts

A method that is made to forget only where its records are asked for keeps what it knows in its weights: a few updates
on other forget records bring it back. `training.relearning_defence` changes the forget term's gradient g, whatever the
method (but `task_vector`, which learns the forget set on the way):

- `selective`: for each matrix of the layers, G = U S Vᵀ becomes c (G - U_k (S_k - s_k) V_kᵀ). The k largest singular
  values are held to the last of them, s_k, and c keeps the norm. k is a sixth of the matrix's smaller side, and at most
  a tenth of the update's scored forget tokens. (A variant of RepSelect, arXiv 2606.17168.) It takes no more tokens.
- `attacker`: g + w ∇L_B(θ + δ), where δ ← δ - ε sign ∇NLL_A(θ + δ) is the way of an attacker who relearns A, a quarter
  of the forget set; B are other forget records, as many as half of the update's. The attacker begins anew, at δ = 0,
  every 4 to 16 updates, with another A and with ε drawn from half to five times the learning rate. The first tenth of
  the updates has no attacker; in the next three tenths w rises from 0 to ¾ (tenths of the longest training). (Like
  MUDMAN, arXiv 2506.12484, with two shards.) It takes as many tokens as the update's forget records, and memory for the
  attacked weights.
- `both`: both, with the gradient at θ + δ made selective, too.

Both take memory for one more gradient, and run on one GPU. An attacker needs weights in float32. How much each defence
holds against which attack, and at what cost, is in [benchmarks](benchmarks.md#relearning).

`calibrated` trains models of up to 20 million weights with `attacker`, where its training is tuned, on one GPU or the
CPU; every other default is `none`. On the demo's people, ten steps of relearning leave about 0.70 of the retrained
model's perplexity with it, and left 0.49 without, for a quarter more tokens; retain perplexity ends 2 to 3 % above the
original's. Before gradients were projected, `both` held longer on LUME and TOFU, for half as much time
again and retain perplexities up by 5 %. w is multiplied by the root of the factor that the readings give the plain
forget term.

## The methods

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
        f" {defaults['records_per_step']} records an update, schedule {defaults['scheduler']}"
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
