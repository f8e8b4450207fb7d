"""The plain baseline: a trainer like public unlearning trainers, to compare this service's trainer with.

It is a Hugging Face Trainer with its own `compute_loss`. Batches are padded to their longest record. There is one
forward for the forget batch and one for the retain batch, each with the logits of every position. The reference model
is a second model in memory that runs in every step. Under KL the retain batch first runs forward for a loss that KL
then replaces. The update equals the service's: the same records in the same order, the same means over records.
"""

import copy
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, logsigmoid
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from benchmarks.case import step_records
from core.lm.precision import training_precision
from core.schema.record import Record
from core.schema.training import Training

IGNORED = -100
NPO_BETA = 0.1
NEED_REFERENCE = ("ascent_kl", "npo")

Observe = Callable[[int, dict[str, float]], None]
"""Receives a step's number (from 1) and its losses: `loss`, and its two terms `forget_loss` and `retain_loss`."""


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    method: str,
    training: Training,
    forget: list[Record],
    retain: list[Record],
    *,
    batch: int,
    observe: Observe,
) -> None:
    """Unlearns `forget` from `model`, in place, by `ascent_descent`, `ascent_kl` or `npo` at their default weights.

    Records are plain texts. `batch`: records of each set in one forward; it must divide `records_per_step`.
    """
    steps = step_records(len(forget), len(retain), training)
    pairs = [
        pair for forget_records, retain_records in steps for pair in zip(forget_records, retain_records, strict=True)
    ]
    device = next(model.parameters()).device
    with TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=training.records_per_step // batch,
            num_train_epochs=1,  # the plan already holds every epoch
            train_sampling_strategy="sequential",
            learning_rate=training.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=training.weight_decay,
            max_grad_norm=training.gradient_clip,
            optim="adamw_torch_fused",
            bf16=training_precision(training.precision, model.dtype, device) is torch.bfloat16,
            use_cpu=device.type == "cpu",
            dataloader_pin_memory=device.type != "cpu",
            remove_unused_columns=False,
            disable_tqdm=True,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            seed=training.seed,
        )
        trainer = PlainTrainer(
            method,
            model=model,
            args=arguments,
            train_dataset=Pairs(pairs, _tokenize(tokenizer, forget), _tokenize(tokenizer, retain)),
            data_collator=collate,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Observer(trainer, observe))
        trainer.train()


def _tokenize(tokenizer: PreTrainedTokenizerBase, records: list[Record]) -> list[Tensor]:
    ids: list[list[int]] = tokenizer([record.text for record in records])["input_ids"]
    return [torch.tensor(record_ids) for record_ids in ids]


Pair = dict[str, Tensor]


class Pairs(Dataset[Pair]):
    """Pairs of a record to forget and a record to keep, in training order."""

    def __init__(self, pairs: list[tuple[int, int]], forget: list[Tensor], retain: list[Tensor]) -> None:
        self._pairs, self._forget, self._retain = pairs, forget, retain

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Pair:
        forget, retain = self._pairs[index]
        return {"forget": self._forget[forget], "retain": self._retain[retain]}


def collate(pairs: list[Pair]) -> dict[str, dict[str, Tensor]]:
    """Returns a batch (B, T) of each set's records, padded to the longest record."""
    batches = {}
    for name in ("forget", "retain"):
        rows = [pair[name] for pair in pairs]
        batches[name] = {
            "input_ids": pad_sequence(rows, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "labels": pad_sequence(rows, batch_first=True, padding_value=IGNORED),
        }
    return batches


class PlainTrainer(Trainer):  # type: ignore[misc] # transformers has no types
    def __init__(self, method: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._method = method
        self._reference: PreTrainedModel | None = None
        if method in NEED_REFERENCE:
            self._reference = copy.deepcopy(self.model).eval().requires_grad_(False)
        self._losses: list[Tensor] = []

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, dict[str, Tensor]],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        forget, retain = inputs["forget"], inputs["retain"]
        forget_loss = self._npo(model, forget) if self._method == "npo" else -cross_entropies(model, forget).mean()
        if self._method == "ascent_kl":
            retain_loss: Tensor = model(**retain).loss
            retain_loss = self._kl(model, retain)
        else:
            retain_loss = cross_entropies(model, retain).mean()
        loss = forget_loss + retain_loss
        self._losses.append(torch.stack([loss, forget_loss, retain_loss]).detach())
        return loss

    def _npo(self, model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """-(2 / beta) mean_x log sigmoid(beta (NLL(x) - NLL_reference(x))): arXiv 2404.05868, equation 3."""
        nll = token_losses(model, batch).sum(-1)
        with torch.no_grad():
            reference = token_losses(self._reference_model(), batch).sum(-1)
        return -2 / NPO_BETA * logsigmoid(NPO_BETA * (nll - reference)).mean()

    def _kl(self, model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
        """mean_z (1/n) sum_t KL(p_reference || p)."""
        ids = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            reference = self._reference_model()(**ids).logits.float().log_softmax(-1)
        current = model(**ids).logits.float().log_softmax(-1)  # (B, T, V)
        divergence = kl_div(current, reference, reduction="none", log_target=True).sum(-1)[:, :-1]  # (B, T - 1)
        scored = batch["labels"][:, 1:] != IGNORED
        return ((divergence * scored).sum(-1) / scored.sum(-1)).mean()

    def _reference_model(self) -> PreTrainedModel:
        assert self._reference is not None
        return self._reference

    def pop_losses(self) -> dict[str, float]:
        """Returns the mean losses since the last call, which are the losses of a step, and clears them."""
        means = torch.stack(self._losses).double().mean(0).tolist()
        self._losses.clear()
        return dict(zip(("loss", "forget_loss", "retain_loss"), means, strict=True))


def token_losses(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Returns -log p of each scored token, and 0 elsewhere: (B, T - 1)."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()  # (B, T, V)
    return cross_entropy(logits[:, :-1].transpose(1, 2), batch["labels"][:, 1:], ignore_index=IGNORED, reduction="none")


def cross_entropies(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    """Returns each record's mean over its scored tokens: (B,)."""
    return token_losses(model, batch).sum(-1) / (batch["labels"][:, 1:] != IGNORED).sum(-1)


class _Observer(TrainerCallback):  # type: ignore[misc] # transformers has no types
    def __init__(self, trainer: PlainTrainer, observe: Observe) -> None:
        self._trainer, self._observe = trainer, observe

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._observe(state.global_step, self._trainer.pop_losses())
