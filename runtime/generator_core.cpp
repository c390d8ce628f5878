#include "runtime/generator_core.hpp"

#include <algorithm>
#include <numeric>

#include "base/error.hpp"

namespace collie {

GeneratorCore::GeneratorCore(std::vector<int32_t> prompt, int64_t max_new_tokens, std::optional<int32_t> eos,
                             int64_t positions)
    : pending_(std::move(prompt)), eos_(eos) {
  const auto length = static_cast<int64_t>(pending_.size());
  COLLIE_ASSERT(length > 0 && length < positions, "a prompt of {} tokens with {} positions", length,
                positions);
  // The last token drawn is never fed, so it needs no position.
  max_new_ = std::min(max_new_tokens, positions - length + 1);
  capacity_ = length + std::max<int64_t>(max_new_ - 1, 0);
  finished_ = max_new_ <= 0;
}

std::shared_ptr<const StepBatch> GeneratorCore::next() {
  auto batch = std::make_shared<StepBatch>();
  MicroBatch& tokens = batch->micro_batches.emplace_back();
  tokens.tokens = std::move(pending_);
  const auto count = tokens.tokens.size();
  tokens.labels.assign(count, -100);
  tokens.positions.resize(count);
  std::iota(tokens.positions.begin(), tokens.positions.end(), static_cast<int32_t>(fed_));
  tokens.document_starts = {0, static_cast<int32_t>(count)};
  fed_ += static_cast<int64_t>(count);
  return batch;
}

bool GeneratorCore::add(int32_t token) {
  if (eos_ && token == *eos_) {
    finished_ = true;
    return false;
  }
  pending_ = {token};
  finished_ = ++generated_ >= max_new_;
  return true;
}

}  // namespace collie
