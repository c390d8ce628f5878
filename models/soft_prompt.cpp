#include "models/soft_prompt.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "kernels/operations.hpp"

namespace collie {
namespace {

void append_virtual_tokens(int64_t count, int64_t vocabulary, MicroBatch& to) {
  for (int64_t i = 0; i < count; ++i) {
    to.tokens.push_back(static_cast<int32_t>(vocabulary + i));
    to.labels.push_back(ignored_label);
    to.positions.push_back(static_cast<int32_t>(i));
  }
}

}  // namespace

std::string prefix_tensor(int64_t block) {
  return fmt::format("{}.{}", prompt_tensor, block);
}

MicroBatch with_prompt(const MicroBatch& batch, const SoftPrompt& prompt, int64_t vocabulary,
                       const std::vector<bool>& begins) {
  if (!prompt.exists()) return batch;
  COLLIE_ASSERT(begins.empty() || begins.size() + 1 == batch.document_starts.size(),
                "{} documents, {} of them are beginnings or not", batch.document_starts.size() - 1,
                begins.size());
  MicroBatch all;
  all.first_tokens = batch.first_tokens;
  all.target_tokens = batch.target_tokens;
  all.virtual_tokens = prompt.in_document();
  all.document_starts = {0};
  for (size_t i = 0; i + 1 < batch.document_starts.size(); ++i) {
    const auto begin = batch.document_starts[i], end = batch.document_starts[i + 1];
    if (begin < end && (begins.empty() || begins[i]))
      append_virtual_tokens(prompt.in_document(), vocabulary, all);
    for (int32_t token = begin; token < end; ++token) {
      const auto at = static_cast<size_t>(token);
      all.tokens.push_back(batch.tokens[at]);
      all.labels.push_back(batch.labels[at]);
      all.positions.push_back(batch.positions[at] + static_cast<int32_t>(prompt.tokens));
    }
    COLLIE_ASSERT(all.tokens.size() <= size_t{INT32_MAX},
                  "{} tokens in one micro-batch, virtual ones among them", all.tokens.size());
    all.document_starts.push_back(static_cast<int32_t>(all.tokens.size()));
  }
  return all;
}

size_t tokens_with_prompt(const MicroBatch& batch, const SoftPrompt& prompt) {
  size_t tokens = batch.tokens.size();
  for (size_t i = 0; i + 1 < batch.document_starts.size(); ++i)
    if (batch.document_starts[i] < batch.document_starts[i + 1])
      tokens += static_cast<size_t>(prompt.in_document());
  return tokens;
}

}  // namespace collie
