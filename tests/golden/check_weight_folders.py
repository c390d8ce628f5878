"""Checks folders of weights against transformers. Not part of ctest; needs torch and transformers.

    python check_weight_folders.py COLLIE_ENGINE

A small random model of each of several families is saved as transformers and torch.save do: one file, several files, .bin,
several .bin, float16, bfloat16, columns before rows. collie-engine's loss of a text must be transformers' for each, and
the same to the bit for all that store the same values. Then final/ of a short run, in several files and each dtype, must
load in transformers with nothing missing or left over, with the same values.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

TEXT = "The collie herds sheep, and the sheep follow.\n" * 3
BOS, EOS = 256, 257  # of tokenizer.kind: byte
SIZES = dict(vocab_size=260, max_position_embeddings=256, bos_token_id=BOS, eos_token_id=EOS)
FAMILIES = {
    "llama": dict(model_type="llama", hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                  num_key_value_heads=2, tie_word_embeddings=True),
    "gpt2": dict(model_type="gpt2", n_embd=32, n_layer=3, n_head=4, n_positions=256),
    "gpt_neox": dict(model_type="gpt_neox", hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                     num_attention_heads=4, tie_word_embeddings=False),
}


def make(settings):
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(**{**SIZES, **settings})).float().eval()


def loss_by_transformers(model):
    tokens = torch.tensor([[BOS, *TEXT.encode(), EOS]])
    with torch.no_grad():
        logits = model.float()(tokens[:, :-1]).logits[0]
    return torch.nn.functional.cross_entropy(logits, tokens[0, 1:]).item()


def run(engine, folder, command, *settings):
    values = {"tokenizer.kind": "byte", "data.sequence_length": 256, "device.threads": 1, **dict(settings)}
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    result = subprocess.run([engine, command, "config.yaml", *words], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def loss_here(engine, folder, name):
    return json.loads(run(engine, folder, "eval", ("model.path", name), ("run.dir", "no_run")))["loss"]


def save_bin(model, folder, shards, transposed=False):
    # Files may have other names than the module; torch.save's published ones are those of transformers' files.
    model.save_pretrained(folder)
    state = {name: value.t().contiguous().t() if transposed and value.dim() == 2 else value
             for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    names = list(state)
    parts = [names[i::shards] for i in range(shards)]
    files = ["pytorch_model.bin"] if shards == 1 else \
        [f"pytorch_model-{i + 1:05}-of-{shards:05}.bin" for i in range(shards)]
    for file, part in zip(files, parts):
        torch.save({name: state[name] for name in part}, folder / file)
    if shards > 1:
        weight_map = {name: file for file, part in zip(files, parts) for name in part}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def check_reading(engine, root, family, model):
    losses = {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        rounded = make(FAMILIES[family]).to(dtype)
        expected = loss_by_transformers(make(FAMILIES[family]).to(dtype).float())
        for kind in ("one", "several", "bin", "bins", "columns"):
            name = f"{family}-{kind}-{str(dtype)[6:]}"
            folder = root / name
            folder.mkdir()
            if kind in ("one", "several"):
                rounded.save_pretrained(folder, max_shard_size="5GB" if kind == "one" else "15KB")
            else:
                save_bin(rounded, folder, 3 if kind == "bins" else 1, kind == "columns")
            losses[kind, dtype] = loss_here(engine, root, name)
            assert abs(losses[kind, dtype] - expected) < 1e-5 * expected, (name, losses[kind, dtype], expected)
            assert losses[kind, dtype] == losses["one", dtype], (name, losses)
    print(family, "read:", {str(dtype)[6:]: losses["one", dtype] for dtype in (torch.float32, torch.float16, torch.bfloat16)})


def check_writing(engine, root, family):
    finals = {}
    for dtype in ("float32", "float16", "bfloat16"):
        for size in ("50GB", "15KB"):
            run_dir = f"run-{family}-{dtype}-{size}"
            run(engine, root, "run", ("model.path", f"{family}-one-float32"), ("run.dir", run_dir), ("train.steps", 2),
                ("model.save_dtype", dtype), ("checkpoint.max_shard_size", size))
            folder = root / run_dir / "final"
            files = sorted(file.name for file in folder.glob("*.safetensors"))
            assert (len(files) > 1) == (size == "15KB") == (folder / "model.safetensors.index.json").exists(), files
            model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
            for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
                assert not info[kind], (run_dir, kind, info[kind])
            assert model.dtype == getattr(torch, dtype), model.dtype
            config = json.loads((folder / "config.json").read_text())
            assert config["dtype"] == config["torch_dtype"] == dtype
            finals[dtype, size] = model.state_dict()
            if size == "15KB":  # transformers divides and names what it loaded in the same way
                model.save_pretrained(root / f"again-{run_dir}", max_shard_size=size)
                again = (root / f"again-{run_dir}" / "model.safetensors.index.json").read_text()
                ours = (folder / "model.safetensors.index.json").read_text()
                # It goes by the names of modules, and GPT-NeoX's head has another name in files.
                assert again == ours or family == "gpt_neox", (run_dir, again, ours)
    for (dtype, size), state in finals.items():
        for name, value in finals["float32", "50GB"].items():
            assert torch.equal(state[name], value.to(getattr(torch, dtype))), (family, dtype, size, name)
    print(family, "written:", len(finals), "folders")


def main():
    engine = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "text.txt").write_text(TEXT)
        (root / "config.yaml").write_text(
            "run: {name: check}\ndata: {train: [{path: text.txt}], eval: [{path: text.txt}]}\n"
            "train: {micro_batch_size: 1, gradient_accumulation_steps: 1}\n")
        for family, settings in FAMILIES.items():
            check_reading(engine, root, family, make(settings))
            check_writing(engine, root, family)
    print("ok")


if __name__ == "__main__":
    main()
