"""Writes generation_masks.json: which tokens of {% generation %} blocks transformers counts as the assistant's.

Usage: python3 make_generation_golden.py > generation_masks.json   (transformers 5.24)

The tokenizer's merges cross the beginnings and ends of blocks, since it was trained on such texts as one word.
"""

import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}A: {% generation %}{{ m.content }}{% endgeneration %}\n"
    "{% else %}U: {{ m.content }}\n{% endif %}{% endfor %}"
)
CONTENTS = ["a b", " b", "", "é", "a\n", "bb a", "日本", " ", "A: b", "ab ab", "é é", "\n\nb"]


def conversations():
    for i in range(len(CONTENTS)):
        pick = lambda k: CONTENTS[(i * 5 + k * 7 + i * k) % len(CONTENTS)]
        yield [
            {"role": "user", "content": pick(0)},
            {"role": "assistant", "content": pick(1)},
            {"role": "user", "content": pick(2)},
            {"role": "assistant", "content": pick(3) + pick(4)},
        ]


def plain(conversation):
    return "".join(("A: " if m["role"] == "assistant" else "U: ") + m["content"] + "\n" for m in conversation)


tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
# Only some of the texts, so that other boundaries stay between tokens.
tokenizer.train_from_iterator([plain(c) for c in list(conversations())[:3]] * 3 + ["a\n", "bb a", "é\n"] * 9, trainer)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
cases, straddling = [], 0
for conversation in conversations():
    out = fast.apply_chat_template(
        conversation, chat_template=TEMPLATE, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    cases.append({"messages": conversation, "ids": out["input_ids"], "masks": out["assistant_masks"]})
    text = plain(conversation)
    begin = text.index("A: ") + 3
    offsets = fast(text, return_offsets_mapping=True)["offset_mapping"]
    straddling += any(start < begin < end for start, end in offsets)
assert straddling > 2, "too few tokens begin before a block and reach into it"
merges = json.loads(tokenizer.to_str())["model"]["merges"]
print(json.dumps({"template": TEMPLATE, "vocab": tokenizer.get_vocab(), "merges": merges, "cases": cases}))
