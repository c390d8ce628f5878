#include <algorithm>
#include <string>
#include <vector>

#include "models/families/family.hpp"
#include "models/sharding.hpp"

namespace collie {
namespace {

struct CutSize {
  const char* key;
  int64_t size;
};

std::vector<CutSize> cut_sizes(const ModelConfig& config) {
  const SizeKeys& keys = family_of(config).keys;
  return {{keys.heads, config.num_attention_heads},
          {keys.intermediate, config.intermediate_size},
          {keys.vocabulary, config.vocab_size}};
}

bool key_value_heads_fit(const ModelConfig& config, int64_t ranks) {
  return config.num_key_value_heads % ranks == 0 || ranks % config.num_key_value_heads == 0;
}

bool fits(const ModelConfig& config, int64_t ranks) {
  for (const auto& [key, size] : cut_sizes(config))
    if (size % ranks != 0) return false;
  return key_value_heads_fit(config, ranks);
}

// "1 and 4": those next to `ranks` that this model can be cut into.
std::string nearest_tensor_sizes(const ModelConfig& config, int64_t ranks) {
  int64_t below = std::min(ranks - 1, config.num_attention_heads), above = ranks + 1;
  while (!fits(config, below)) --below;  // 1 fits
  while (above <= config.num_attention_heads && !fits(config, above)) ++above;
  return above > config.num_attention_heads ? fmt::format("{}", below)
                                            : fmt::format("{} and {}", below, above);
}

// "8 or 12": the multiples of `ranks` next to `size`.
std::string nearest_multiples(int64_t size, int64_t ranks) {
  const int64_t below = size / ranks * ranks, above = below + ranks;
  return below == 0 ? fmt::format("{}", above) : fmt::format("{} or {}", below, above);
}

}  // namespace

void check_shard(const ModelConfig& config, const ModelShard& shard) {
  COLLIE_ASSERT(shard.tensor_size >= 1 && shard.tensor_rank >= 0 && shard.tensor_rank < shard.tensor_size,
                "tensor rank {} of {}", shard.tensor_rank, shard.tensor_size);
  COLLIE_ASSERT(shard.context_size >= 1 && shard.context_rank >= 0 && shard.context_rank < shard.context_size,
                "context rank {} of {}", shard.context_rank, shard.context_size);
  const int64_t ranks = shard.tensor_size;
  for (const auto& [key, size] : cut_sizes(config))
    if (size % ranks != 0)
      throw UserError(
          "parallel.tp_size: {} ranks cannot share the model's {} of {} evenly; nearest sizes of tp_size for "
          "this model: {}; nearest {} for this tp_size: {}",
          ranks, key, size, nearest_tensor_sizes(config, ranks), key, nearest_multiples(size, ranks));
  if (!key_value_heads_fit(config, ranks))
    throw UserError(
        "parallel.tp_size: {} ranks cannot share the model's num_key_value_heads of {}: one must be a "
        "multiple of the other; nearest sizes of tp_size for this model: {}",
        ranks, config.num_key_value_heads, nearest_tensor_sizes(config, ranks));
  if (shard.context_size > 1 && config.blanks.exist())
    throw UserError(
        "parallel.cp_size: the engine does not share the tokens of a model whose documents have a context "
        "that "
        "sees itself in both directions (model_type chatglm with position_encoding_2d) among {} ranks; use 1",
        shard.context_size);
}

}  // namespace collie
