"""Chat templates in the shapes that families of models have, each with the tokens that it needs.

They are written for these tests. Headers, ends, `<think>` blocks, system turns and refusals behave as in a family; the
text is another.
"""

from dataclasses import dataclass

LOOP = "{% for m in messages %}"
ALTERNATE = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for m in turns %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Turns must alternate, and the user begins') }}{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Shape:
    """A template and its tokens."""

    source: str
    end: str
    """The text that ends an assistant's turn; "" where the template writes none."""
    special: tuple[str, ...] = ()
    """Tokens that the tokenizer flags as special."""
    added: tuple[str, ...] = ()
    """Further tokens that the tokenizer never splits."""


CHATML = Shape(
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    + LOOP
    + "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "<|im_end|>",
    special=("<|im_start|>", "<|im_end|>"),
)
UNFLAGGED = Shape(CHATML.source, "<|im_end|>", added=("<|im_start|>", "<|im_end|>"))
SPELT = Shape(CHATML.source.replace("<|im_end|>", "[[done]]"), "[[done]]", special=("<|im_start|>",))
"""Its end of turn is several tokens of text."""
THINKING = Shape(
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    + LOOP
    + "{% set text = m['content'] %}{% if m['role'] == 'assistant' %}{% set thought = '' %}"
    "{% if '</think>' in text %}{% set thought = text.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}{{ text.lstrip('\n') + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + text + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}",
    "<|im_end|>",
    special=("<|im_start|>", "<|im_end|>"),
    added=("<think>", "</think>"),
)
"""Writes a `<think>` block before the last answer, empty if there is no thought; leaves earlier blocks out."""
OPENED = Shape(
    "{{ bos_token }}" + LOOP + "{% if m['role'] == 'system' %}{{ m['content'] }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '<|User|>' + m['content'] }}{% endif %}"
    "{% if m['role'] == 'assistant' %}{% set text = m['content'] %}"
    "{% if '</think>' in text %}{% set text = text.split('</think>')[-1] %}{% endif %}"
    "{{ '<|Assistant|>' + text + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}",
    "</s>",
    added=("<|User|>", "<|Assistant|>", "<think>", "</think>"),
)
"""Opens `<think>` in the generation prompt, and drops every thought from earlier answers."""
HEADERS = Shape(
    "{{ bos_token }}{{ '<|head|>system<|/head|>\n\nToday: ' + strftime_now('%d %b %Y') + '\n\n<|eot|>' }}"
    + LOOP
    + "{{ '<|head|>' + m['role'] + '<|/head|>\n\n' + m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}",
    "<|eot|>",
    special=("<|head|>", "<|/head|>", "<|eot|>"),
)
MODEL_ROLE = Shape(
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system turn, please') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Turns must alternate, and the user begins') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<turn>' + role + '\n' + m['content'] | trim + '</turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}",
    "</turn>",
    special=("<turn>", "</turn>"),
)
BRACKETS = Shape(
    ALTERNATE + "{{ bos_token }}{% for m in turns %}{% if m['role'] == 'user' %}{{ '[INST] ' }}"
    "{% if loop.last or turns[loop.index0:] | length == 2 %}{{ system + '\n\n' if system else '' }}{% endif %}"
    "{{ m['content'] + ' [/INST]' }}{% else %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}{% endfor %}",
    "</s>",
)
"""Has no generation prompt; puts the system's words before the last question, which changes with every turn."""
ANGLES = Shape(
    ALTERNATE + "{% for m in turns %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' }}"
    "{% if loop.first and system %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}"
    "{{ m['content'] | trim + ' [/INST]' }}{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}"
    "{% endif %}{% endfor %}",
    " </s>",
)
CLOSED = Shape(
    LOOP + "{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    "<|end|>",
    special=("<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
)
"""Writes the end of the sequence too, after a finished conversation."""
FIRST_ROLE = Shape(
    LOOP + "{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "</s>",
)
LAST_ONLY = Shape(
    "{{ bos_token }}" + LOOP + "{{ '<|' + m['role'] + '|>\n' + m['content'] }}"
    "{% if loop.last and m['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "</s>",
)
ROLES = Shape(
    LOOP + "{{ '<|role|>' + m['role'] + '<|/role|>' + m['content'] + '<|text_end|>\n' }}{% endfor %}"
    "{% if tools is not none %}{{ tools | tojson }}{% endif %}"
    "{% if add_generation_prompt %}{{ '<|role|>assistant<|/role|>' }}{% endif %}",
    "<|text_end|>",
    special=("<|role|>", "<|/role|>", "<|text_end|>"),
)
SPEAKERS = Shape(
    "{{ bos_token }}" + LOOP + "{% set name = {'user': 'USER', 'assistant': 'BOT', 'system': 'SYS'}[m['role']] %}"
    "{{ '<|open|><|' + name + '|>' + m['content'] | trim + '<|close|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|open|><|BOT|>' }}{% endif %}",
    "<|close|>",
    special=("<|open|>", "<|close|>", "<|USER|>", "<|BOT|>", "<|SYS|>"),
)
GENERATION = Shape(
    LOOP + "{% if m['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "<|im_end|>",
    special=("<|im_start|>", "<|im_end|>"),
)
CHANNELS = Shape(
    LOOP + "{% if m['role'] == 'assistant' %}{{ '<|start|>assistant<|channel|>final<|message|>' + m['content'] }}"
    "{{ '<|return|>' if loop.last else '<|done|>' }}"
    "{% else %}{{ '<|start|>' + m['role'] + '<|message|>' + m['content'] + '<|done|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}",
    "<|return|>",
    special=("<|start|>", "<|channel|>", "<|message|>", "<|done|>", "<|return|>"),
)
PLAIN = Shape(
    LOOP + "{{ m['role'] | capitalize + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
    "",
)
"""Writes no end of turn."""

SHAPES = {
    "chatml": CHATML,
    "unflagged": UNFLAGGED,
    "spelt": SPELT,
    "thinking": THINKING,
    "opened": OPENED,
    "headers": HEADERS,
    "model_role": MODEL_ROLE,
    "brackets": BRACKETS,
    "angles": ANGLES,
    "closed": CLOSED,
    "first_role": FIRST_ROLE,
    "last_only": LAST_ONLY,
    "roles": ROLES,
    "speakers": SPEAKERS,
    "generation": GENERATION,
    "channels": CHANNELS,
    "plain": PLAIN,
}
