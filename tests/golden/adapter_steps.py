"""What the scripts that make goldens of adapters share. It needs torch alone: one of them has an environment of its own."""

import pathlib

import torch

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 20


def token_losses(model, documents):
    """Sum of the losses over all targets, and their number. Virtual tokens have logits, too, and no labels."""
    total, targets = 0.0, 0
    for document in documents:
        labels = torch.tensor(document["labels"])
        logits = model(input_ids=torch.tensor([document["tokens"]])).logits[0][-len(labels):]
        total = total + torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum")
        targets += int((labels != -100).sum())
    return total, targets


def rounded(logits):
    return [[[round(x, 7) for x in row] for row in rows] for rows in logits]


def train(model, golden, parameters, groups=None, regulariser=None, after_step=lambda step: None):
    """STEPS steps of AdamW on the steps of a base's golden.json; returns their losses, without the regulariser's.
    `groups`: of the parameters, with rates of their own. regulariser(): a term of each step's loss."""
    optimizer = torch.optim.AdamW(groups or parameters, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses = []
    for step in range(STEPS):
        micro_batches = golden["steps"][step % len(golden["steps"])]
        optimizer.zero_grad()
        targets = sum(sum(label != -100 for d in documents for label in d["labels"]) for documents in micro_batches)
        loss = 0.0
        for documents in micro_batches:
            part, _ = token_losses(model, documents)
            (part / targets).backward()
            loss += part.item()
        if regulariser:
            regulariser().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        after_step(step)
        losses.append(loss / targets)
    return losses
