// What a tokenizer.json's post_processor adds around a text.
#pragma once

#include <cstdint>
#include <vector>

#include "io/tokenizers/json_place.hpp"

namespace collie {

struct AddedAround {
  std::vector<int32_t> before, after;
};

// Reads a TemplateProcessing ("single"; pairs of texts are not used here), BertProcessing, RobertaProcessing,
// ByteLevel (which moves offsets only) or Sequence of them. Throws UserError naming the file and the key,
// also for ids that are not below `vocab_size`.
AddedAround read_post_processor(const JsonPlace& description, int64_t vocab_size);

}  // namespace collie
