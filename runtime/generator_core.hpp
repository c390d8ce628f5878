// The rules of generating one text: the prompt first, then a token at a time, until EOS, the limit, or the
// last position.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "io/batch.hpp"

namespace collie {

class GeneratorCore {
 public:
  // `positions`: what the model has. `prompt` is not empty and shorter than that.
  GeneratorCore(std::vector<int32_t> prompt, int64_t max_new_tokens, std::optional<int32_t> eos,
                int64_t positions);

  int64_t cache_capacity() const { return capacity_; }
  int64_t generated() const { return generated_; }
  bool finished() const { return finished_; }

  // The tokens to feed next: the prompt, then the last token drawn.
  std::shared_ptr<const StepBatch> next();
  // The token drawn after that. False where it is EOS, which is not part of the text.
  bool add(int32_t token);

 private:
  std::vector<int32_t> pending_;  // drawn (or prompt) but not fed
  std::optional<int32_t> eos_;
  int64_t capacity_ = 0, fed_ = 0, generated_ = 0, max_new_ = 0;
  bool finished_ = false;
};

}  // namespace collie
