"""Makes eval_stories260k.json: the loss of a pretrained model on the beginning of a text, by transformers and PyTorch.

    python make_eval_golden.py DATA

DATA holds stories260K/ and tinyshakespeare.txt (not copied here). For each case, the text's pieces are documents: BOS,
the piece's tokens, EOS. Documents are laid one after another into windows of `sequence_length` inputs, and every token but
a document's first is a target once. What a document has in a window is run through the model by itself, with positions
from 0: packed documents do not see each other, and the next window starts at the last token that the one before read.
float32 on the CPU. Made with torch 2.15.0, transformers 5.23.0.
"""

import json
import pathlib
import sys

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
CASES = {  # bytes of each document, cut one after another from the text's front
    "one document": {"documents": [3000], "sequence_length": 128},
    "packed documents": {"documents": [1000, 150, 7, 900], "sequence_length": 200},
}


def segments(documents, length):
    """What each document has in each window: lists of input and target tokens."""
    room = length
    for tokens in documents:
        start, pairs = 0, len(tokens) - 1
        while start < pairs:
            count = min(room, pairs - start)
            yield tokens[start:start + count], tokens[start + 1:start + count + 1]
            start += count
            room = room - count or length


@torch.no_grad()
def loss_of(model, documents, length):
    total, targets = 0.0, 0
    for inputs, labels in segments(documents, length):
        logits = model(torch.tensor([inputs])).logits[0].double()
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="sum").item()
        targets += len(labels)
    return total / targets, targets


def main():
    data = pathlib.Path(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(data / "stories260K", dtype=torch.float32).eval()
    # tokenizer.json as it stands: transformers 5 puts a tokenizer of its own in its place, which differs where a text
    # begins with a space.
    tokenizer = Tokenizer.from_file(str(data / "stories260K" / "tokenizer.json"))
    bos, eos = model.config.bos_token_id, model.config.eos_token_id
    text = (data / "tinyshakespeare.txt").read_bytes()
    golden = {}
    for name, case in CASES.items():
        documents, at = [], 0
        for size in case["documents"]:
            ids = tokenizer.encode(text[at:at + size].decode(), add_special_tokens=False).ids
            documents.append([bos, *ids, eos])
            at += size
        loss, targets = loss_of(model, documents, case["sequence_length"])
        golden[name] = {**case, "loss": loss, "tokens": targets}
    (HERE / "eval_stories260k.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(json.dumps(golden, indent=1))


if __name__ == "__main__":
    main()
