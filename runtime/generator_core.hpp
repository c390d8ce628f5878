// The rules for generating one text. It feeds the prompt first and then one token at a time, until EOS, the
// limit, or the last position.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "io/batch.hpp"

namespace collie {

class GeneratorCore {
 public:
  // `positions`: the number of the model's positions. `prompt` is not empty and is shorter than that.
  GeneratorCore(std::vector<int32_t> prompt, int64_t max_new_tokens, std::optional<int32_t> eos,
                int64_t positions);

  int64_t cache_capacity() const { return capacity_; }
  int64_t generated() const { return generated_; }
  bool finished() const { return finished_; }

  // Returns the tokens to feed next: the prompt, then the last token drawn.
  std::shared_ptr<const StepBatch> next();
  // Adds the token drawn after that. Returns false if it is EOS, which is not part of the text.
  bool add(int32_t token);

 private:
  std::vector<int32_t> pending_;  // tokens that are drawn (or the prompt) and not fed yet
  std::optional<int32_t> eos_;
  int64_t capacity_ = 0, fed_ = 0, generated_ = 0, max_new_ = 0;
  bool finished_ = false;
};

}  // namespace collie
