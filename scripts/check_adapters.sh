#!/usr/bin/env bash
# Trains adapters of small models of several families, and compares them with Hugging Face's peft in both directions
# (tests/golden/check_adapter_folder.py). COLLIE_PYTHON names a Python with torch, transformers and peft; COLLIE_ENGINE the
# command, build/release/collie-engine by default.
set -euo pipefail
cd "$(dirname "$0")/.."
engine=${COLLIE_ENGINE:-build/release/collie-engine}
[ -n "${COLLIE_PYTHON:-}" ] || { echo "left out: comparison with peft (COLLIE_PYTHON names no Python)"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for i in $(seq 200); do echo "The ${i}th collie herds $((i * i % 97)) sheep, and the dog herds them back. "; done > "$work/train.txt"
sizes="max_position_embeddings: 256, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4"
number=0
while IFS='|' read -r model peft; do
  number=$((number + 1))
  common=(--set "data.train=[{path: $work/train.txt}]" --set tokenizer.kind=byte --set data.sequence_length=64
    --set monitor.console=none --set run.name=adapters --set eval.every_n_steps=0)
  echo "$model: $peft"
  "$engine" run /dev/null "${common[@]}" --set "run.dir=$work/base$number" --set model.from_scratch=true \
    --set "model.config={$model, vocab_size: 272}" --set train.steps=30 --set optimizer.lr=3.0e-3
  "$engine" run /dev/null "${common[@]}" --set "run.dir=$work/run$number" --set "model.path=$work/base$number/final" \
    --set "peft={$peft}" --set train.steps=30 --set optimizer.lr=2.0e-2
  "$COLLIE_PYTHON" tests/golden/check_adapter_folder.py "$work/base$number/final" "$work/run$number/final" "$engine"
done <<END
model_type: llama, $sizes, intermediate_size: 96, num_key_value_heads: 2, tie_word_embeddings: true|type: lora, r: 8
model_type: llama, $sizes, intermediate_size: 96, num_key_value_heads: 1|type: lora, target_modules: all-linear, lora_alpha: 16, modules_to_save: [lm_head, model.norm]
model_type: qwen2, $sizes, intermediate_size: 96, num_key_value_heads: 2|type: lora, target_modules: [q_proj, mlp.*], bias: lora_only, use_rslora: true
model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 4, n_positions: 256|type: lora, target_modules: all-linear, lora_alpha: 16
model_type: gpt_neox, $sizes, intermediate_size: 96, rotary_pct: 0.5|type: lora, layers_to_transform: [1], lora_alpha: 32
model_type: llama, $sizes, intermediate_size: 96, num_key_value_heads: 2|type: lora, target_modules: all-linear, use_dora: true, lora_alpha: 16
model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 4, n_positions: 256|type: lora, target_modules: [c_attn], use_dora: true, bias: all
model_type: llama, $sizes, intermediate_size: 96, num_key_value_heads: 2|type: lora, target_modules: all-linear, init_lora_weights: pissa
model_type: qwen2, $sizes, intermediate_size: 96, num_key_value_heads: 2|type: lora, target_modules: [q_proj, up_proj], init_lora_weights: olora, use_rslora: true
model_type: llama, $sizes, intermediate_size: 96, num_key_value_heads: 2|type: ia3
model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 4, n_positions: 256|type: ia3
model_type: llama, $sizes, intermediate_size: 96, num_key_value_heads: 2|type: adalora, target_modules: all-linear, init_r: 6, target_r: 2, tfinal: 5, deltaT: 2, lora_alpha: 32
model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 4, n_positions: 256|type: adalora, init_r: 8, target_r: 3, lora_alpha: 32, bias: lora_only
END
