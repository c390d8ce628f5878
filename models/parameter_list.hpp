// The parameters of the parts of a decoder: names, shapes and order are Hugging Face's (the order of
// transformers' named_parameters()); the model's family knows them.
#pragma once

#include <vector>

#include "models/layer_parameters.hpp"

namespace collie {

// Each appends its parameters to `list` and returns where they are: what `shard` holds of them. The
// embedding, a block and the final norm begin a new layer; the head belongs to that of the final norm before
// it.
EmbeddingIds add_embedding(const ModelSpec& model, std::vector<Parameter>& list,
                           const ModelShard& shard = {});
BlockIds add_block(const ModelSpec& model, int64_t block, std::vector<Parameter>& list,
                   const ModelShard& shard = {});
NormIds add_final_norm(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard = {});
// The head's matrix, or a tied copy of the embedding; and its bias, where the model has one.
MatrixIds add_head(const ModelSpec& model, std::vector<Parameter>& list, const ModelShard& shard = {});

}  // namespace collie
