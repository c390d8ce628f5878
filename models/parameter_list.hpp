// The parameters of the parts of a decoder: names, shapes and order are Hugging Face's (the order of
// transformers' named_parameters()), and this is the one place that knows them.
#pragma once

#include <vector>

#include "models/model_spec.hpp"
#include "models/parameter.hpp"
#include "models/stage_range.hpp"

namespace collie {

inline constexpr ParameterId no_parameter = -1;

struct MatrixIds {
  ParameterId weight = no_parameter, bias = no_parameter;
};

struct BlockIds {
  MatrixIds q, k, v, o;                       // self_attn.{q,k,v,o}_proj
  MatrixIds gate, up, down;                   // mlp.{gate,up,down}_proj
  ParameterId attention_norm = no_parameter;  // input_layernorm.weight
  ParameterId mlp_norm = no_parameter;        // post_attention_layernorm.weight
};

// Each appends its parameters to `list` and returns where they are: what `shard` holds of them. The
// embedding, a block and the final norm begin a new layer; the head belongs to that of the final norm before
// it.
ParameterId add_embedding(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard = {});
BlockIds add_block(const ModelSpec& model, int64_t block, std::vector<Parameter>& list,
                   const ModelShard& shard = {});
ParameterId add_final_norm(const ModelSpec& model, std::vector<Parameter>& list,
                           const ModelShard& shard = {});
// lm_head.weight, or a tied copy of the embedding.
ParameterId add_head(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard = {});

}  // namespace collie
