// The rules for generating texts. It feeds the prompts first and then one token of each text at a time, until
// EOS, the limit, the last position, or who asked ends the text. Then the next prompt takes its place.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/asker.hpp"

namespace collie {

struct Prompt {
  std::vector<int32_t> tokens;  // not empty, and fewer than the model's positions
  int64_t max_new_tokens = 0;
  Sampling sampling;
};

class GeneratorCore {
 public:
  struct Drawn {
    size_t prompt = 0;
    int32_t token = 0;
    bool operator==(const Drawn&) const = default;
  };

  // `positions`: the number of the model's positions. Prompts are numbered from 0, as their sequences are.
  // Any of `stops` ends a text, as EOS does. At most `at_once` texts are begun and not finished; 0: all are.
  GeneratorCore(std::vector<Prompt> prompts, std::vector<int32_t> stops, int64_t positions,
                int64_t at_once = 0);

  bool finished() const;  // all texts
  bool finished(size_t prompt) const { return texts_.at(prompt).finished; }
  void end(size_t prompt);  // whatever it lacks; nothing if it is finished

  // Asks for the next tokens of texts that are not finished, in the order of the prompts.
  ProgramRequest next(Asker& asker);
  // Adds the tokens drawn after that. Returns those that are part of a text, which a stop is not.
  std::vector<Drawn> add(const ProgramReply& reply);

 private:
  struct Text {
    std::vector<int32_t> pending;  // tokens that are drawn (or the prompt) and not fed yet
    std::vector<int32_t> seen;     // all tokens that were fed, each once, in order of their ids
    Sampling sampling;
    int64_t capacity = 0, fed = 0, generated = 0, max_new = 0;
    bool finished = false;
  };

  static void note_seen(Text& text);
  static void append(const Text& text, MicroBatch& batch);

  std::vector<Text> texts_;
  std::vector<size_t> asked_;   // the texts of the last request
  std::vector<int64_t> ended_;  // sequences that have ended since
  std::vector<int32_t> stops_;
  int64_t at_once_ = 0;   // 0: all
  bool is_first_ = true;  // nothing has been asked for
};

}  // namespace collie
