// Documents of a model that fills in a blank (GLM: Du et al., arXiv 2103.10360): the tokens of the context
// see each other in both directions, those from the start token on see what stands before them. A token has
// two positions. In the context the first counts up and the second is 0; behind it the first is that of the
// blank, and the second counts up from 1. The first turns the first half of each head, the second the other.
//
//   token             What is 3 + 4 ? [gMASK] <start> 7 <end>
//   first position     0   1  2 3 4 5    6       6    6   6
//   second position    0   0  0 0 0 0    0       1    2   3
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/batch.hpp"
#include "models/model_config.hpp"

namespace collie {

struct Blank {
  int64_t context = 0;   // tokens before the start token
  int64_t position = 0;  // of the blank among them
};

// Where the blank of a document is, whose first tokens these are; nothing if it has no start token or no
// blank before it. The model's own code takes neither: it stops with an error. (It also takes a blank that
// stands behind the start token. No text of its tokenizer has one there, and here it is none.)
std::optional<Blank> find_blank(const BlankTokens& tokens, std::span<const int32_t> document);
// What a message says would be right.
std::string right_blank(const BlankTokens& tokens);

// The places of tokens of a micro-batch.
struct BlankPlaces {
  std::vector<int32_t> contexts;       // [documents] tokens that see each other, the first of a document
  std::vector<int32_t> first, second;  // [tokens] positions

  // Adds the next tokens of a document, of which `before` have been placed.
  void add(const Blank& blank, int64_t before, int64_t tokens);
};

// Throws RunError if a document has no blank. Documents are whole; one without tokens has no context.
BlankPlaces places_around_blanks(const BlankTokens& tokens, const MicroBatch& batch);

}  // namespace collie
