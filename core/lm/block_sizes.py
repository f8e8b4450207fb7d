"""How much is computed or kept at a time, where that bounds memory. Without torch: preflight counts with the same."""

LOGITS_PER_SLICE = 7 << 20
"""Elements of one slice of logits: 28 MB. They stay near the processor while the loss goes over them, and the allocator
keeps the memory for the next slice (core.lm.memory): with 32 MB a step took 8 % longer at a vocabulary of 32,000."""

ONEDNN_PRIMITIVES = 128
"""Compiled products that oneDNN keeps, one for each number of tokens that a batch has had. Each takes about 1.2 MiB;
oneDNN's own default is 1,024, which is not worth its memory."""
