// What the opaque handles of stage_model.hpp hold.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "kernels/offload.hpp"
#include "models/blanks.hpp"
#include "models/block.hpp"
#include "models/head.hpp"
#include "models/prompt_encoder.hpp"
#include "models/stage_model.hpp"

namespace collie {

struct ActivationStash::Contents {
  std::vector<BlockStash> blocks;  // of the stage's range, in order
  // [blocks], null where a block's stash is here.
  std::vector<std::unique_ptr<Offloaded>> on_host;
  HeadStash head;      // where the head is here
  Tensor d_embedding;  // [tokens, hidden], from backward_input on, where the embedding is here
  // Where virtual tokens have an encoder and the embedding is here: what it gave, and its gradient.
  PromptStash prompt;
  Tensor encoded, d_encoded;
};

struct KeyValueCache::Contents {
  struct Sequence {
    std::vector<Tensor> blocks;  // [capacity, 2 kv_heads head_dim] each: keys, then values
    int64_t capacity = 0;
    int64_t length = 0;          // tokens held
    std::optional<Blank> blank;  // of a model that fills in blanks, once there are tokens
  };
  std::map<int64_t, Sequence> sequences;  // by number
};

}  // namespace collie
